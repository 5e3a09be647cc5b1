// Queues and topics: what the bus promises about a message, with no AMQP in it.
// Defaults and rules: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas and
// https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement
import { randomUUID } from 'node:crypto';

const LONGEST_TIMER = 2 ** 31 - 1; // setTimeout fires at once beyond it

/** A refusal: an AMQP condition for links, an HTTP-like status for $management. */
export class Refusal extends Error {
  constructor(condition, status, description) {
    super(description);
    Object.assign(this, { condition, status });
  }
}

/** What queues and topics share: acceptance, duplicate detection and the schedule. */
class Entity {
  constructor(path, options) {
    this.path = path;
    this.options = { maxMessageSize: 262144, duplicateDetectionWindowMs: 600_000, ...options };
    this.sequence = 0;
    this.seen = new Map(); // message id → when it may be forgotten
    this.scheduled = new Map(); // sequence number → message
  }

  /** Takes a message over; returns its sequence number. A duplicate is accepted and dropped:
   * https://learn.microsoft.com/azure/service-bus-messaging/duplicate-detection */
  accept(message, now = Date.now()) {
    if (this.options.refuse) throw new Refusal(this.options.refuse, 503, `${this.path} was told to refuse`);
    if (message.size > this.options.maxMessageSize) {
      throw new Refusal('amqp:link:message-size-exceeded', 400, `message of ${message.size} bytes exceeds ${this.options.maxMessageSize}`);
    }
    if (this.options.requiresSession && message.sessionId === undefined) {
      throw new Refusal('amqp:not-allowed', 400, `${this.path} requires a session id`);
    }
    message.sequence = ++this.sequence;
    if (this.isDuplicate(message, now)) return message.sequence;
    if (message.scheduledFor > now) this.schedule(message);
    else this.enqueue(message, now);
    return message.sequence;
  }

  isDuplicate(message, now) {
    if (!this.options.requiresDuplicateDetection || message.id === undefined) return false;
    for (const [id, until] of this.seen) {
      if (until > now) break; // insertion order is time order
      this.seen.delete(id);
    }
    if (this.seen.has(message.id)) return true;
    this.seen.set(message.id, now + this.options.duplicateDetectionWindowMs);
    return false;
  }

  schedule(message) {
    const { sequence } = message;
    message.state = 'scheduled';
    message.enqueuedAt = message.scheduledFor;
    const wait = () => {
      const left = message.scheduledFor - Date.now();
      message.timer = setTimeout(left > 0 ? wait : due, Math.min(Math.max(left, 0), LONGEST_TIMER));
    };
    const due = () => {
      this.scheduled.delete(sequence);
      message.sequence = ++this.sequence; // activation gives a new number, as on Azure
      this.enqueue(message, Date.now());
    };
    this.scheduled.set(sequence, message);
    wait();
  }

  /** Whether the answer to what was just accepted is to be lost. */
  losesAnswer() {
    return this.options.loseAnswers > 0 && this.options.loseAnswers-- > 0;
  }

  cancel(sequences) {
    for (const sequence of sequences) {
      if (!this.scheduled.has(sequence)) {
        throw new Refusal('com.microsoft:message-not-found', 404, `no scheduled message ${sequence} in ${this.path}`);
      }
    }
    for (const sequence of sequences) {
      clearTimeout(this.scheduled.get(sequence).timer);
      this.scheduled.delete(sequence);
    }
  }
}

export class Topic extends Entity {
  constructor(path, options) {
    super(path, options);
    this.subscriptions = Object.entries(options.subscriptions ?? {})
      .map(([name, o]) => new Queue(`${path}/Subscriptions/${name}`, o));
  }

  enqueue(message, now) {
    for (const subscription of this.subscriptions) {
      const copy = message.clone();
      copy.sequence = ++subscription.sequence;
      subscription.enqueue(copy, now);
    }
  }
}

export class Queue extends Entity {
  constructor(path, options, isDeadLetter = false) {
    super(path, { lockDurationMs: 60_000, maxDeliveryCount: 10, ...options });
    this.messages = new Map(); // sequence number → message, in order
    this.locks = new Map(); // lock token → {message, until, timer}
    this.sessions = new Map(); // session id → the link that holds it
    this.sessionStates = new Map();
    this.ready = new Set(); // callbacks of links that want messages
    if (!isDeadLetter) this.deadLetters = new Queue(`${path}/$deadletterqueue`, { maxDeliveryCount: Infinity }, true);
  }

  enqueue(message, now) {
    message.state = 'active';
    message.enqueuedAt = now;
    this.messages.set(message.sequence, message);
    this.wake();
  }

  wake() {
    for (const callback of this.ready) callback();
  }

  /** The next message for a link, locked, or undefined. Without a lock (receive and delete) the
   * message is gone, and its token opens nothing. */
  take(sessionId, withLock) {
    const now = Date.now();
    for (const message of this.messages.values()) {
      if (message.state !== 'active') continue;
      if (this.expire(message, now)) continue;
      if (this.options.requiresSession && message.sessionId !== sessionId) continue;
      message.deliveries++;
      const lock = { message, token: randomUUID() };
      if (!withLock) {
        this.messages.delete(message.sequence);
        return lock;
      }
      message.state = 'locked';
      this.hold(lock);
      this.locks.set(lock.token, lock);
      return lock;
    }
    return undefined;
  }

  hold(lock) {
    clearTimeout(lock.timer);
    lock.until = Date.now() + this.options.lockDurationMs;
    lock.timer = setTimeout(() => this.settle(lock.token, 'abandon'), Math.min(this.options.lockDurationMs, LONGEST_TIMER));
  }

  expire(message, now) {
    const ttl = Math.min(message.ttl ?? Infinity, this.options.defaultTimeToLiveMs ?? Infinity);
    if (message.enqueuedAt + ttl > now) return false;
    this.messages.delete(message.sequence);
    if (this.options.deadLetterOnExpiration) this.bury(message, { DeadLetterReason: 'TTLExpiredException' });
    return true;
  }

  bury(message, properties) {
    this.messages.delete(message.sequence);
    message.addProperties(properties);
    message.deadLetterSource = this.path;
    message.ttl = undefined; // dead letters do not expire
    this.deadLetters.accept(message);
  }

  lock(token) {
    const lock = this.locks.get(token);
    if (!lock) throw new Refusal('com.microsoft:message-lock-lost', 410, `the lock ${token} is lost`);
    return lock;
  }

  renew(tokens) {
    return tokens.map((token) => {
      const lock = this.lock(token);
      this.hold(lock);
      return lock.until;
    });
  }

  /** outcome: complete, abandon, release (given back unused: not counted), or deadLetter. */
  settle(token, outcome, properties = {}) {
    const { message, timer } = this.lock(token);
    clearTimeout(timer);
    this.locks.delete(token);
    message.state = 'active';
    if (outcome === 'complete') this.messages.delete(message.sequence);
    else if (outcome === 'deadLetter' && this.deadLetters) this.bury(message, properties);
    else if (outcome === 'abandon' && message.deliveries >= this.options.maxDeliveryCount) {
      this.bury(message, {
        DeadLetterReason: 'MaxDeliveryCountExceeded',
        DeadLetterErrorDescription: `Message could not be consumed after ${this.options.maxDeliveryCount} delivery attempts.`,
      });
    } else if (outcome === 'release') message.deliveries--;
    this.wake();
  }

  /** Gives a link the session it asks for, or any that has a message waiting. */
  acceptSession(wanted, link) {
    const waiting = [...this.messages.values()].find((m) => m.state === 'active' && !this.sessions.has(m.sessionId));
    const id = wanted ?? waiting?.sessionId;
    if (id === undefined) throw new Refusal('com.microsoft:timeout', 408, 'no session is waiting');
    if (this.sessions.has(id)) throw new Refusal('com.microsoft:session-cannot-be-locked', 409, `session ${id} is held by another receiver`);
    this.sessions.set(id, link);
    return id;
  }

  releaseSession(id, link) {
    if (this.sessions.get(id) === link) this.sessions.delete(id);
  }

  peek(from, count) {
    return [...this.messages.values(), ...this.scheduled.values()]
      .filter((m) => m.sequence >= from).sort((a, b) => a.sequence - b.sequence).slice(0, count);
  }
}
