// One Service Bus namespace: entities by address, and the shared access keys that open them.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Queue, Refusal, Topic } from './entity.mjs';

export class Namespace {
  constructor({ queues = {}, topics = {}, keys }) {
    this.keys = keys ?? { RootManageSharedAccessKey: 'taskgate' };
    this.entities = new Map();
    for (const [name, options] of Object.entries(queues)) this.addQueue(new Queue(name, options));
    for (const [name, options] of Object.entries(topics)) {
      const topic = new Topic(name, options);
      this.entities.set(name.toLowerCase(), topic);
      topic.subscriptions.forEach((s) => this.addQueue(s));
    }
  }

  addQueue(queue) {
    this.entities.set(queue.path.toLowerCase(), queue);
    this.entities.set(queue.deadLetters.path.toLowerCase(), queue.deadLetters);
  }

  /** The entity at an address; addresses do not mind case. */
  entity(address) {
    const entity = this.entities.get(String(address).toLowerCase());
    if (!entity) throw new Refusal('amqp:not-found', 404, `The messaging entity '${address}' could not be found.`);
    return entity;
  }

  /** Checks a token of $cbs. A JWT is taken on trust: there is no Entra here to have signed it.
   * https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas */
  authorise(token, type) {
    if (type === 'jwt') return;
    const fields = Object.fromEntries(token.replace(/^SharedAccessSignature /, '').split('&').map((f) => {
      const at = f.indexOf('=');
      return [f.slice(0, at), f.slice(at + 1)];
    }));
    const key = this.keys[decodeURIComponent(fields.skn ?? '')];
    const want = createHmac('sha256', key ?? '').update(`${fields.sr}\n${fields.se}`).digest();
    const got = Buffer.from(decodeURIComponent(fields.sig ?? ''), 'base64');
    const good = key !== undefined && got.length === want.length && timingSafeEqual(got, want);
    if (!good || Number(fields.se) * 1000 < Date.now()) {
      throw new Refusal('amqp:unauthorized-access', 401, 'InvalidSignature: The token has an invalid signature or has expired.');
    }
  }
}
