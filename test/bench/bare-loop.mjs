// The limit for any relay in Node: amqplib alone consumes, publishes with confirms, and acknowledges. bare-loop.mjs URL QUEUE EXCHANGE KEY PREFETCH
import { connect } from 'amqplib';

const [url = '', queue = '', exchange = '', key = '', prefetch = ''] = process.argv.slice(2);
const connection = await connect(url, { noDelay: true });
const channel = await connection.createConfirmChannel();
await channel.prefetch(Number(prefetch));
await channel.consume(queue, (message) => {
  if (!message) return;
  const { headers, ...properties } = message.properties;
  const options = { ...properties, headers: { ...headers, canHandle: true }, mandatory: true };
  channel.publish(exchange, key, message.content, options, (error) => {
    if (error) throw error;
    channel.ack(message);
  });
});
console.log('consuming');
