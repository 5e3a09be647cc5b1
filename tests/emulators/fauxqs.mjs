// SQS and SNS, with two repairs. Through the library, because fauxqs' own command line binds every interface.
import { AsyncLocalStorage } from 'node:async_hooks';
import { buildApp } from 'fauxqs';

// SQS takes #x10000 to #x10FFFF, and fauxqs 1.9.2 does not: its pattern sees halves of them.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
const { INVALID_MESSAGE_BODY_CHAR } = await import(new URL('sqs/sqsTypes.js', import.meta.resolve('fauxqs')));
INVALID_MESSAGE_BODY_CHAR.compile('[^\\x09\\x0A\\x0D\\x20-\\uD7FF\\uE000-\\uFFFD\\u{10000}-\\u{10FFFF}]', 'u');

// Standard queues keep a message's group too, and fauxqs 1.9.2 drops it.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
const { SqsStore } = await import(new URL('sqs/sqsStore.js', import.meta.resolve('fauxqs')));
const groups = new AsyncLocalStorage(); // of the request's messages, by their bodies
const createMessage = SqsStore.createMessage;
SqsStore.createMessage = (body, attributes, delay, group, ...rest) =>
  createMessage(body, attributes, delay, group ?? groups.getStore()?.get(body), ...rest);

export async function start({ host, port }) {
  const app = buildApp({ logger: false, host });
  app.addHook('preHandler', (request, _, done) => {
    const messages = request.body?.Entries ?? [request.body ?? {}];
    groups.run(new Map(messages.map((m) => [m.MessageBody, m.MessageGroupId])), done);
  });
  await app.listen({ host, port });
  return app.server.address().port;
}
