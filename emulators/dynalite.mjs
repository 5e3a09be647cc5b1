// DynamoDB. With config.path the tables survive a kill.
import { once } from 'node:events';
import dynalite from 'dynalite';

export async function start({ host, port, config }) {
  const server = dynalite({ createTableMs: 0, updateTableMs: 0, deleteTableMs: 0, ...config });
  server.listen(port, host);
  await once(server, 'listening');
  return server.address().port;
}
