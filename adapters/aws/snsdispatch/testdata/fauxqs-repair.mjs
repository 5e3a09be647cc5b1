// SQS takes #x10000 to #x10FFFF, and fauxqs 1.9.2 does not: its pattern sees halves of them.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
const types = new URL('../../../../emulators/node_modules/fauxqs/dist/sqs/sqsTypes.js', import.meta.url);
const { INVALID_MESSAGE_BODY_CHAR } = await import(types);
INVALID_MESSAGE_BODY_CHAR.compile('[^\\x09\\x0A\\x0D\\x20-\\uD7FF\\uE000-\\uFFFD\\u{10000}-\\u{10FFFF}]', 'u');
