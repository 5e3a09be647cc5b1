// SQS and SNS. Through the library, because fauxqs' own command line binds every interface.
import { buildApp } from 'fauxqs';

export async function start({ host, port }) {
  const app = buildApp({ logger: false, host });
  await app.listen({ host, port });
  return app.server.address().port;
}
