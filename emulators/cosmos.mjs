// Cosmos DB, over plain HTTP.
import { once } from 'node:events';
import cosmos from '@vercel/cosmosdb-server';

export async function start({ host, port }) {
  const server = cosmos.createHttpServer({ keepAlive: true });
  server.listen(port, host);
  await once(server, 'listening');
  return server.address().port;
}
