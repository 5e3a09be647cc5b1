// A message as the bus keeps it: the sender's own bytes for everything but the header and the
// annotations, which belong to the broker and are written anew for every delivery.
// Section codes: AMQP 1.0 part 3, section 3.2. Annotations:
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
import rhea from 'rhea';

const { types, message: codec } = rhea;
const HEADER = 0x70, DELIVERY_ANNOTATIONS = 0x71, ANNOTATIONS = 0x72, APPLICATION_PROPERTIES = 0x74;
const BATCH_FORMAT = 0x80013700;

// rhea hands over decoded messages only, and decoding forgets types (a long comes back as a uint),
// so every decoded message keeps its bytes.
const { decode } = codec;
codec.decode = (bytes) => Object.defineProperty(decode(bytes), 'bytes', { value: bytes });

/** The messages of one transfer: a batch carries one encoded message in each data section. */
export function messagesOf(payload, format) {
  if (format !== BATCH_FORMAT) return [new Message(payload.bytes ?? payload)];
  const { body } = decode(payload);
  return (body.multiple ? body.content : [body.content]).map((raw) => new Message(raw));
}

export class Message {
  constructor(raw) {
    this.size = raw.length;
    this.kept = []; // [{code, bytes}] in wire order
    this.annotations = []; // typed keys and values, alternating
    const reader = new types.Reader(raw);
    while (reader.remaining()) {
      const start = reader.position;
      const section = reader.read();
      const code = section.descriptor.value;
      if (code === ANNOTATIONS) this.annotations = section.value;
      else if (code !== HEADER && code !== DELIVERY_ANNOTATIONS) {
        this.kept.push({ code, bytes: raw.subarray(start, reader.position) });
      }
    }
    const decoded = decode(raw);
    this.id = decoded.message_id;
    this.sessionId = decoded.group_id;
    this.ttl = decoded.ttl;
    this.scheduledFor = decoded.message_annotations?.['x-opt-scheduled-enqueue-time']?.getTime();
    this.deliveries = 0;
  }

  /** A copy with a life of its own: each subscription of a topic gets one. */
  clone() {
    return Object.assign(Object.create(Message.prototype), this, { kept: [...this.kept] });
  }

  /** Adds application properties, as dead-lettering does with its reason. */
  addProperties(properties) {
    const old = this.kept.find((s) => s.code === APPLICATION_PROPERTIES);
    const items = old ? new types.Reader(old.bytes).read().value : [];
    for (const [key, value] of Object.entries(properties)) {
      if (value !== undefined && value !== null) items.push(types.wrap_string(key), types.wrap(value));
    }
    const bytes = encode(types.described(types.wrap_ulong(APPLICATION_PROPERTIES), types.Map32(items)));
    if (old) old.bytes = bytes;
    else {
      const body = this.kept.findIndex((s) => s.code > APPLICATION_PROPERTIES);
      this.kept.splice(body < 0 ? this.kept.length : body, 0, { code: APPLICATION_PROPERTIES, bytes });
    }
  }

  /** The bytes of one delivery. delivery_count excludes the delivery itself: AMQP 1.0, 3.2.1. */
  encode({ lockedUntil } = {}) {
    const states = { active: 0, locked: 0, scheduled: 2 };
    const annotations = [
      ['x-opt-sequence-number', types.wrap_long(this.sequence)],
      ['x-opt-enqueued-time', types.wrap_timestamp(this.enqueuedAt)],
      ['x-opt-message-state', types.wrap_int(states[this.state] ?? 0)],
    ];
    if (lockedUntil) annotations.push(['x-opt-locked-until', types.wrap_timestamp(lockedUntil)]);
    if (this.deadLetterSource) annotations.push(['x-opt-deadletter-source', types.wrap_string(this.deadLetterSource)]);
    const own = new Set(annotations.map(([key]) => key));
    const items = annotations.flatMap(([key, value]) => [types.wrap_symbol(key), value]);
    for (let i = 0; i + 1 < this.annotations.length; i += 2) {
      if (!own.has(this.annotations[i].value)) items.push(this.annotations[i], this.annotations[i + 1]);
    }
    const header = codec.header({ ttl: this.ttl, delivery_count: Math.max(0, this.deliveries - 1) });
    return Buffer.concat([
      encode(header.described()),
      encode(types.described(types.wrap_ulong(ANNOTATIONS), types.Map32(items))),
      ...this.kept.map((s) => s.bytes),
    ]);
  }
}

function encode(typed) {
  const writer = new types.Writer();
  writer.write(typed);
  return writer.toBuffer();
}
