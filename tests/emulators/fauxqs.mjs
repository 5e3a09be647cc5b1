// SQS and SNS, with one repair. Through the library, because fauxqs' own command line binds every interface.
import { buildApp } from 'fauxqs';

// SQS takes #x10000 to #x10FFFF, and fauxqs 1.9.2 does not: its pattern sees halves of them.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
const { INVALID_MESSAGE_BODY_CHAR } = await import(new URL('sqs/sqsTypes.js', import.meta.resolve('fauxqs')));
INVALID_MESSAGE_BODY_CHAR.compile('[^\\x09\\x0A\\x0D\\x20-\\uD7FF\\uE000-\\uFFFD\\u{10000}-\\u{10FFFF}]', 'u');

export async function start({ host, port }) {
  const app = buildApp({ logger: false, host });
  await app.listen({ host, port });
  return app.server.address().port;
}
