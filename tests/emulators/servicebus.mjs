// Azure Service Bus over AMQP 1.0, in memory: queues, topics, subscriptions.
//
//   node serve.mjs servicebus --port 5672 --config '{
//     "queues": {"tasks": {"maxDeliveryCount": 3, "lockDurationMs": 5000, "requiresDuplicateDetection": true}},
//     "topics": {"events": {"subscriptions": {"a": {}, "b": {}}}},
//     "keys": {"RootManageSharedAccessKey": "taskgate"}}'
//
// Options of a queue or subscription: lockDurationMs (60000), maxDeliveryCount (10), requiresSession,
// defaultTimeToLiveMs, deadLetterOnExpiration. Of a queue or topic: requiresDuplicateDetection,
// duplicateDetectionWindowMs (600000), maxMessageSize (262144, the Standard tier's). Faults, of both:
// refuse, an AMQP condition ("com.microsoft:server-busy") with which every send is rejected, and
// loseAnswers, the number of sends and requests after which the connection breaks unanswered.
import { once } from 'node:events';
import rhea from 'rhea';
import { serveLinks } from './servicebus/links.mjs';
import { Namespace } from './servicebus/namespace.mjs';

export async function start({ host, port, config }) {
  const container = rhea.create_container({
    id: 'servicebus',
    autoaccept: false, // a message is accepted once it is stored
    autosettle: false, // a delivery is settled once the queue has settled it
    treat_modified_as_released: false, // modified is how azservicebus abandons
  });
  serveLinks(container, new Namespace(config));
  // Without no-delay, Nagle and delayed acknowledgements stall small frames for 46 ms.
  const server = container.listen({ host, port, tcp_no_delay: true });
  await once(server, 'listening');
  return server.address().port;
}
