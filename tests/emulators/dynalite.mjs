// DynamoDB. With config.path the tables survive a kill. Repaired: a client that goes away in the
// middle of its request ends that request, and not the server.
import { once } from 'node:events';
import dynalite from 'dynalite';

export async function start({ host, port, config }) {
  const server = dynalite({ createTableMs: 0, updateTableMs: 0, deleteTableMs: 0, ...config });
  // dynalite listens for a request's error, which is that its client went away, and throws it.
  // Without a listener node takes the error for what it is: nobody is left to answer.
  server.on('request', (req) => req.removeAllListeners('error'));
  server.listen(port, host);
  await once(server, 'listening');
  return server.address().port;
}
