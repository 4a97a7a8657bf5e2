import * as z from 'zod';

/** The meaning of a key, or, for a table, its subject and when a change of it takes effect. By the path of the key. */
export type Texts = Readonly<Record<string, string | { readonly text: string; readonly effect: string }>>;

/**
 * For editors: what a configuration may hold. The programs judge more than JSON Schema can say, so what an editor accepts `--check` may refuse,
 * and nothing the other way round.
 */
export function jsonSchemaFor(title: string, schema: z.ZodType, texts: Texts): string {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', target: 'draft-7' });
  return `${JSON.stringify({ $schema, title, ...rewritten(rest, '', texts) }, null, 2)}\n`;
}

type Node = Record<string, unknown>;

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `path` is that of the key whose value the node is about. */
function rewritten(node: Node, path: string, texts: Texts): Node {
  const members = Object.entries(node).filter(isForEveryEditor);
  return Object.fromEntries(
    members.map(([name, value]) => {
      if (name === 'properties') return [name, describedEach(value as Record<string, Node>, path, texts)];
      if (name === 'allOf' || name === 'anyOf') return [name, (value as Node[]).map((each) => rewritten(each, path, texts))];
      return [name, name !== 'default' && isNode(value) ? rewritten(value, path, texts) : value];
    }),
  );
}

function describedEach(properties: Record<string, Node>, above: string, texts: Texts): Node {
  return Object.fromEntries(
    Object.entries(properties).map(([name, node]) => {
      const path = above === '' ? name : `${above}.${name}`;
      const said = texts[path];
      const description = (typeof said === 'object' ? said.text : said)?.replaceAll('`', '');
      return [name, { description, ...rewritten(node, path, texts) }];
    }),
  );
}

/** Formats of zod's own, and classes such as \p{Cc}, which some editors' regular expressions do not know, are left to the programs. */
function isForEveryEditor([name, value]: [string, unknown]): boolean {
  return name !== 'format' && !(name === 'pattern' && String(value).includes('\\p{'));
}
