// AMQP links: which node a link is attached to, what is sent to it, and what it is sent.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
import rhea from 'rhea';
import { Queue, Refusal, Topic } from './entity.mjs';
import { messagesOf } from './message.mjs';
import { manage, putToken } from './requests.mjs';

const { types, message: codec } = rhea;
const CBS = '$cbs', MANAGEMENT = '/$management';
const SESSION_FILTER = 'com.microsoft:session-filter', SESSION_FILTER_CODE = 0x00000137000000c;
const PRESETTLED = 1;
const TICKS_TO_1970 = 621355968000000000n; // .NET counts 100 ns steps from year 1

/** Serves a namespace to every connection of a container. */
export function serveLinks(container, namespace) {
  // A client's sender is our receiver, and the reverse.
  container.on('connection_open', ({ connection }) => { connection.claims = new Set(); connection.outlets = new Set(); });
  container.on('receiver_open', ({ receiver }) => openOrRefuse(receiver, () => openInlet(namespace, receiver)));
  container.on('sender_open', ({ sender }) => openOrRefuse(sender, () => openOutlet(namespace, sender)));
  container.on('message', (context) => context.receiver.handle?.(context));
  container.on('sender_flow', ({ sender }) => sender.pump?.());
  for (const outcome of ['accepted', 'released', 'rejected', 'modified']) {
    container.on(outcome, ({ sender, delivery }) => sender.settle?.(delivery, outcome));
  }
  container.on('sender_close', ({ sender }) => sender.shut?.());
  container.on('session_close', ({ session, connection }) => shutAll(connection, (outlet) => outlet.session === session));
  for (const end of ['connection_close', 'disconnected']) {
    container.on(end, ({ connection }) => shutAll(connection, () => true));
  }
  // A client that vanishes is an everyday thing here, never a reason to die.
  for (const event of ['connection_error', 'session_error', 'sender_error', 'receiver_error', 'protocol_error', 'error']) {
    container.on(event, (context) => console.error(`${event}: ${context?.connection?.error ?? context?.message ?? ''}`));
  }
}

function shutAll(connection, which) {
  for (const outlet of [...connection.outlets ?? []].filter(which)) outlet.shut();
}

function openOrRefuse(link, open) {
  const { attach } = link.local;
  attach.snd_settle_mode = link.snd_settle_mode; // azservicebus insists on its own modes
  attach.rcv_settle_mode = link.rcv_settle_mode;
  try {
    open();
  } catch (err) {
    if (!(err instanceof Refusal)) throw err;
    link.close({ condition: err.condition, description: err.message });
  }
}

/** The entity at an address, if a token on this connection opens it. */
function authorised(namespace, link, address) {
  const entity = namespace.entity(address);
  const path = address.toLowerCase();
  if (![...link.connection.claims].some((claim) => path.startsWith(claim))) {
    throw new Refusal('amqp:unauthorized-access', 401, `Unauthorized access. 'Send,Listen' claim(s) are required for '${address}'.`);
  }
  return entity;
}

function openInlet(namespace, receiver) {
  const { address } = receiver.target;
  const { connection } = receiver;
  if (address === CBS) {
    receiver.handle = answering((request) => putToken(namespace, connection.claims, request));
  } else if (address.endsWith(MANAGEMENT)) {
    const entity = authorised(namespace, receiver, address.slice(0, -MANAGEMENT.length));
    receiver.handle = answering((request) => {
      const reply = manage(entity, request);
      if (entity.losesAnswer()) connection.socket.destroy();
      return reply;
    });
  } else {
    const entity = authorised(namespace, receiver, address);
    receiver.local.attach.max_message_size = entity.options.maxMessageSize;
    receiver.handle = ({ message, delivery, format }) => {
      store(entity, message, delivery, format);
      if (entity.losesAnswer()) connection.socket.destroy(); // before the disposition is written
    };
  }
  receiver.set_target({ address });
  receiver.set_source({ address: receiver.source?.address });
}

function store(entity, payload, delivery, format) {
  try {
    messagesOf(payload, format).forEach((m) => entity.accept(m));
    delivery.accept();
  } catch (err) {
    if (!(err instanceof Refusal)) throw err;
    delivery.reject({ condition: err.condition, description: err.message });
  }
}

/** A handler that settles the request first and answers it after: azservicebus waits in that order. */
function answering(answer) {
  return ({ message: request, delivery, connection }) => {
    delivery.accept();
    setImmediate(() => {
      const outlet = [...connection.outlets].find((o) => o.replyTo === request.reply_to);
      outlet?.send({ ...answer(request), correlation_id: request.message_id });
    });
  };
}

function openOutlet(namespace, sender) {
  const { address } = sender.source;
  const { connection } = sender;
  const filter = sender.source.filter;
  const source = { address };
  sender.shut = () => connection.outlets.delete(sender);
  if (address === CBS || address.endsWith(MANAGEMENT)) {
    if (address !== CBS) authorised(namespace, sender, address.slice(0, -MANAGEMENT.length));
    sender.replyTo = sender.target?.address;
  } else {
    const queue = authorised(namespace, sender, address);
    if (queue instanceof Topic) throw new Refusal('amqp:not-allowed', 400, `${address} is a topic: receive from its subscriptions`);
    const sessionId = takeSession(queue, sender, filter);
    if (sessionId !== undefined) {
      source.filter = { [SESSION_FILTER]: types.described(types.wrap_ulong(SESSION_FILTER_CODE), types.wrap_string(sessionId)) };
      const until = BigInt(Date.now() + queue.options.lockDurationMs) * 10000n + TICKS_TO_1970;
      const ticks = Buffer.alloc(8);
      ticks.writeBigInt64BE(until);
      sender.local.attach.properties = { 'com.microsoft:locked-until-utc': types.wrap_long(ticks) };
    }
    feed(queue, sender, sessionId);
  }
  sender.set_source(source);
  sender.set_target({ address: sender.target?.address });
  connection.outlets.add(sender);
}

function takeSession(queue, sender, filter) {
  const asked = filter && SESSION_FILTER in filter;
  if (Boolean(queue.options.requiresSession) !== Boolean(asked)) {
    throw new Refusal('amqp:not-allowed', 400, asked
      ? `${queue.path} does not take sessions` : `${queue.path} requires a session receiver`);
  }
  if (!asked) return undefined;
  return queue.acceptSession(types.unwrap(filter[SESSION_FILTER]?.value) ?? undefined, sender);
}

/** Sends a queue's messages down a link as its credit allows, and settles what comes back. */
function feed(queue, sender, sessionId) {
  const withLock = sender.snd_settle_mode !== PRESETTLED;
  const held = new Map(); // delivery → lock token
  let turn;
  // One message a turn of the event loop: rhea takes the credit off only when it writes the frame,
  // and a delivery without credit would block every other link of its session.
  const next = () => {
    turn = undefined;
    if (!sender.is_open() || !sender.sendable()) return;
    const lock = queue.take(sessionId, withLock);
    if (!lock) {
      sender.set_drained(true);
      return;
    }
    const delivery = sender.send(lock.message.encode({ lockedUntil: lock.until }), tag(lock.token), 0);
    if (withLock) held.set(delivery.id, lock.token);
    sender.pump();
  };
  sender.pump = () => { turn ??= setImmediate(next); };
  sender.settle = (delivery, outcome) => {
    const token = held.get(delivery.id);
    if (token === undefined) return;
    held.delete(delivery.id);
    const { state, refusal } = settle(queue, token, outcome, delivery.remote_state);
    delivery.update(true, refusal ? codec.rejected({ error: refusal }).described() : state);
    // azservicebus leaves the settling to us and says no more, for which rhea would keep the delivery,
    // and stop the session at the 2048th.
    delivery.remote_settled = true;
  };
  sender.shut = () => {
    queue.ready.delete(sender.pump);
    queue.releaseSession(sessionId, sender);
    sender.connection.outlets.delete(sender);
  };
  queue.ready.add(sender.pump);
}

function settle(queue, token, outcome, remote) {
  const info = remote.error?.info ?? {};
  const kind = { accepted: 'complete', released: 'release', rejected: 'deadLetter', modified: 'abandon' }[outcome];
  try {
    queue.settle(token, kind, info);
    return { state: codec[outcome](outcome === 'modified' ? { delivery_failed: true } : {}).described() };
  } catch (err) {
    if (!(err instanceof Refusal)) throw err;
    return { refusal: { condition: err.condition, description: err.message } };
  }
}

/** A lock token as the delivery tag that carries it: a GUID in .NET's byte order. */
function tag(token) {
  const b = Buffer.from(token.replaceAll('-', ''), 'hex');
  b.subarray(0, 4).reverse();
  b.subarray(4, 6).reverse();
  b.subarray(6, 8).reverse();
  return b;
}
