/** RabbitMQ's words when it refuses something, and what an operator does about it. The names in a command are those of the sentence. */
const ADVICE: readonly (readonly [sentence: RegExp, advice: string])[] = [
  [/vhost .* not found/, 'correct the virtual host in amqp.urls; on the RabbitMQ machine: rabbitmqctl list_vhosts'],
  [/user connection limit/, 'end connections of this user, or raise its limit: rabbitmqctl list_user_limits --user $user, set_user_limits'],
  [
    /connection limit/,
    'end connections to this virtual host, or raise its limit: rabbitmqctl list_vhost_limits --vhost $vhost, set_vhost_limits',
  ],
  [/access to vhost/, 'on the RabbitMQ machine: rabbitmqctl set_permissions -p $vhost $user … (docs/rabbitmq.md, "Accounts")'],
  [/vhost .* is down/, 'see the log of RabbitMQ, then: rabbitmqctl restart_vhost --vhost $vhost'],
  [
    // RabbitMQ 4.3, to a passive declare of a user who has no right on the name at all.
    /configure access to (queue|exchange) '(?!kpx\.)/,
    '"$user" has no right there. RabbitMQ says "configure", and the broker needs read on the queue and write on the exchange: kpxctl doctor, as root, has the command',
  ],
  [/access to (queue|exchange|topic)/, 'a permission of "$user" is missing: kpxctl doctor, as root, says which, with the command'],
];

/** Undefined where there is none. `url` names user and virtual host. */
export function adviceOn(sentence: string, url: string): string | undefined {
  const { username, pathname } = new URL(url);
  const names = { user: decodeURIComponent(username), vhost: decodeURIComponent(pathname.slice(1)) || '/' };
  const [, advice] = ADVICE.find(([pattern]) => pattern.test(sentence)) ?? [];
  return advice?.replace(/\$(user|vhost)/g, (_, name: keyof typeof names) => names[name]);
}

/** The sentence, and advice behind it where there is some. */
export function withAdvice(sentence: string, url: string): string {
  const advice = adviceOn(sentence, url);
  return advice === undefined ? sentence : `${sentence}; ${advice}`;
}
