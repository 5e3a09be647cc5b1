// Cosmos DB, over plain HTTP, with three repairs to what the server gets wrong.
import { once } from 'node:events';
import { createServer } from 'node:http';
import cosmos from '@vercel/cosmosdb-server';

// Bytes: https://learn.microsoft.com/azure/cosmos-db/concepts-limits#per-item-limits
const MAX_ITEM = 2 * 1024 * 1024;

export async function start({ host, port }) {
  const inner = cosmos.createHttpServer({ keepAlive: true });
  const [serve] = inner.listeners('request');
  const server = createServer((req, res) => {
    if (Number(req.headers['content-length']) > MAX_ITEM) {
      req.resume();
      res.writeHead(413, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ code: 'RequestEntityTooLarge', message: 'Request size is too large' }));
      return;
    }
    // Reading a missing item is a 500 unless the request looks like a cross-partition query.
    if (req.method === 'GET') req.headers['x-ms-documentdb-query-enablecrosspartition'] = 'True';
    if (req.url === '/') renameAccount(req, res);
    serve(req, res);
  });
  server.listen(port, host);
  await once(server, 'listening');
  // The account learns its address from its own server's "listening", which never listens.
  inner.address = () => server.address();
  inner.emit('listening');
  return server.address().port;
}

// The account document names the address that the SDK goes on with. The server names its own, which
// would lead the SDK past a proxy in front of it.
function renameAccount(req, res) {
  const end = res.end.bind(res);
  res.end = (body) => end(String(body).replaceAll(/https:\/\/127\.0\.0\.1:\d+\//g, `http://${req.headers.host}/`));
}
