// Azure Storage queues, in memory. Through the library, because the command line takes port 0 for
// "the default port".
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const QueueConfiguration = require('azurite/dist/src/queue/QueueConfiguration.js').default;
const QueueServer = require('azurite/dist/src/queue/QueueServer.js').default;

export async function start({ host, port }) {
  const defaults = (n) => Array(n).fill(undefined);
  const accessLog = false;
  const skipApiVersionCheck = true; // azqueue speaks a newer version, which changes nothing that is used here
  const inMemory = true;
  const server = new QueueServer(new QueueConfiguration(
    host, port, ...defaults(4), accessLog, undefined, false, ...defaults(2), skipApiVersionCheck,
    ...defaults(5), inMemory,
  ));
  await server.start();
  return Number(new URL(server.getHttpServerAddress()).port);
}
