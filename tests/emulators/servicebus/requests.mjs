// The request-response nodes: $cbs, and $management of every entity.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response
import rhea from 'rhea';
import { Refusal } from './entity.mjs';
import { Message } from './message.mjs';

const { types } = rhea;
const LONG = types.Long.typecode, TIMESTAMP = types.Timestamp.typecode;

const operations = {
  'com.microsoft:schedule-message': (entity, { messages }) => ({
    'sequence-numbers': types.wrap_array(messages.map((m) => entity.accept(new Message(m.message))), LONG),
  }),
  'com.microsoft:cancel-scheduled-message': (entity, body) => entity.cancel(body['sequence-numbers']),
  'com.microsoft:renew-lock': (queue, body) => ({
    expirations: types.wrap_array(queue.renew(body['lock-tokens'].map(uuid)), TIMESTAMP),
  }),
  'com.microsoft:update-disposition': (queue, body) => {
    const outcome = { completed: 'complete', abandoned: 'abandon', suspended: 'deadLetter' }[body['disposition-status']];
    if (!outcome) throw new Refusal('amqp:not-implemented', 501, `disposition ${body['disposition-status']}`);
    for (const token of body['lock-tokens']) {
      queue.settle(uuid(token), outcome, {
        DeadLetterReason: body['deadletter-reason'],
        DeadLetterErrorDescription: body['deadletter-description'],
      });
    }
  },
  'com.microsoft:peek-message': (queue, body) => ({
    messages: queue.peek(body['from-sequence-number'], body['message-count']).map((m) => ({ message: m.encode() })),
  }),
  'com.microsoft:renew-session-lock': (queue) => ({
    expiration: types.wrap_timestamp(Date.now() + queue.options.lockDurationMs),
  }),
  'com.microsoft:get-session-state': (queue, body) => ({
    'session-state': queue.sessionStates.get(body['session-id']) ?? null,
  }),
  'com.microsoft:set-session-state': (queue, body) => {
    queue.sessionStates.set(body['session-id'], body['session-state']);
  },
};

/** Answers one request to an entity's $management. */
export function manage(entity, request) {
  const { operation } = request.application_properties;
  return respond(() => {
    const run = operations[operation];
    if (!run) throw new Refusal('amqp:not-implemented', 501, `operation ${operation}`);
    return run(entity, request.body ?? {});
  });
}

/** Answers one put-token; the path that the token opens is added to claims. */
export function putToken(namespace, claims, request) {
  const { type, name } = request.application_properties;
  return respond(() => {
    namespace.authorise(String(request.body), type);
    claims.add(decodeURIComponent(new URL(name).pathname).slice(1).toLowerCase());
  });
}

function respond(run) {
  try {
    return reply(200, 'OK', run() ?? {});
  } catch (err) {
    if (!(err instanceof Refusal)) throw err;
    return reply(err.status, err.message, {}, err.condition);
  }
}

// azservicebus reads the status only as an int32, and the condition only from error-condition.
function reply(status, description, body, condition) {
  const properties = { 'status-code': types.wrap_int(status), 'status-description': description };
  if (condition) properties['error-condition'] = types.wrap_symbol(condition);
  return { application_properties: properties, body };
}

/** An AMQP uuid in text, as the lock tokens are kept. */
export function uuid(bytes) {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
