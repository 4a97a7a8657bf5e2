import type { Argument, Command, Option } from 'commander';

/** The candidates after an option, or for an argument: a list of words, or one of these. */
type Value = readonly string[] | 'file' | 'directory' | 'group' | 'text' | 'none';

interface Offered {
  /** With its dashes. */
  readonly option: string;
  readonly what: string;
  readonly value: Value;
  readonly isRepeatable: boolean;
}

interface Verb {
  /** The words that lead to it, such as `dead-letters list`. */
  readonly words: string;
  readonly what: string;
  readonly verbs: readonly Verb[];
  readonly options: readonly Offered[];
  readonly arguments: readonly { readonly name: string; readonly value: Value; readonly isRepeatable: boolean }[];
}

const KINDS: Readonly<Record<string, Value>> = { FILE: 'file', DIR: 'directory', GROUP: 'group' };
const MADE = 'Made by `npm run reference` of the verbs and options of the program.';
const HELP: Offered = { option: '--help', what: 'a summary', value: 'none', isRepeatable: false };

/** The completion of kpxctl for bash, fish and zsh, by its path in the checkout. */
export function completions(program: Command): Record<string, string> {
  const all = verbOf(program, []);
  return {
    'systemd/completion/kpxctl.bash': bash(all),
    'systemd/completion/kpxctl.fish': fish(all),
    'systemd/completion/_kpxctl': zsh(all),
  };
}

/** One thought is enough beside a word. */
const short = (text: string) => text.split(/[;:]/)[0]?.trim() ?? '';

function verbOf(command: Command, words: readonly string[]): Verb {
  return {
    words: words.join(' '),
    what: short(command.summary()),
    verbs: command.commands.map((verb) => verbOf(verb, [...words, verb.name()])),
    options: [...command.options.map(offered), HELP],
    arguments: command.registeredArguments.map((argument: Argument) => ({
      name: argument.name(),
      value: KINDS[argument.name()] ?? 'text',
      isRepeatable: argument.variadic,
    })),
  };
}

function offered({ long, flags, description, argChoices }: Option): Offered {
  const [, name] = /<(\w+)>/.exec(flags) ?? [];
  const value = argChoices ?? (name === undefined ? 'none' : (KINDS[name] ?? 'text'));
  return { option: long ?? flags, what: short(description), value, isRepeatable: description.includes('(repeatable)') };
}

/** Those that have none of their own first. */
const leaves = (verb: Verb): Verb[] => (verb.verbs.length === 0 ? [verb] : verb.verbs.flatMap(leaves));
const groups = (verb: Verb): Verb[] => (verb.verbs.length === 0 ? [] : [...verb.verbs.flatMap(groups), verb]);
const lastOf = ({ words }: Verb) => words.split(' ').at(-1) ?? '';
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

function bash(program: Verb): string {
  const all = [...leaves(program), ...groups(program)];
  const values = new Map<string, { value: Value; options: Set<string> }>();
  for (const { option, value } of all.flatMap(({ options }) => options)) {
    if (value === 'none') continue;
    const key = String(value);
    values.set(key, { value, options: (values.get(key)?.options ?? new Set()).add(option) });
  }
  const after = [...values.values()].map(({ value, options }) => `    ${[...options].join(' | ')}) ${bashValue(value)} return ;;`);
  const cases = all.map(({ words, verbs, options }) => {
    const pattern = words === '' ? `' '` : `'${words} '*`;
    return `    ${pattern}) words='${[...verbs.map(lastOf), ...options.map(({ option }) => option)].join(' ')}' ;;`;
  });
  const takingFiles = all.filter((verb) => verb.arguments.some(({ value }) => value === 'file'));
  return `# Completion of kpxctl(8) for bash. ${MADE}

_kpxctl() {
    local IFS=$' \\t\\n' current=\${COMP_WORDS[COMP_CWORD]} words=''
    COMPREPLY=()
    case \${COMP_WORDS[COMP_CWORD - 1]} in
${after.join('\n')}
    esac
    local before="\${COMP_WORDS[*]:1:COMP_CWORD-1} "
    case $before in
${cases.join('\n')}
    esac
    case $before in
    ${takingFiles.map(({ words }) => `'${words} '*`).join(' | ')}) [[ $current == -* ]] || mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    esac
    mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o filenames -F _kpxctl kpxctl
`;
}

function bashValue(value: Value): string {
  const how = { file: '-f', directory: '-d', group: '-g' } as const;
  if (value === 'text' || value === 'none') return '';
  return `mapfile -t COMPREPLY < <(compgen ${typeof value === 'string' ? how[value] : `-W '${value.join(' ')}'`} -- "$current");`;
}

const FISH_VALUES = {
  file: '-r -F',
  directory: `-x -a '(__fish_complete_directories)'`,
  group: `-x -a '(__fish_complete_groups)'`,
  text: '-x',
  none: '',
} as const;

function fish(program: Verb): string {
  const line = (...parts: string[]) => ['complete -c kpxctl', ...parts.filter(Boolean)].join(' ');
  const said = (what: string) => `-d '${what.replaceAll("'", "\\'")}'`;
  const lines = [...groups(program).reverse(), ...leaves(program)].flatMap((verb) => [
    ...verb.verbs.map((each) => line('-n', quoted(`__kpxctl_is ${verb.words}`.trim()), '-a', lastOf(each), said(each.what))),
    ...verb.options.map(({ option, what, value }) => {
      const takes = typeof value === 'string' ? FISH_VALUES[value] : `-x -a '${value.join(' ')}'`;
      return line(
        '-n',
        quoted(`__kpxctl_${verb.verbs.length > 0 ? 'is' : 'at'} ${verb.words}`.trim()),
        `-l ${option.slice(2)}`,
        takes,
        said(what),
      );
    }),
    ...(verb.arguments.some(({ value }) => value === 'file') ? [line('-n', quoted(`__kpxctl_at ${verb.words}`), '-F')] : []),
  ]);
  return `# Completion of kpxctl(8) for fish. ${MADE}

# Are these, and no others, the words before the one that is typed?
function __kpxctl_is
    test (string join -- ' ' (commandline -opc)) = (string join -- ' ' kpxctl $argv)
end

# Do the words before the one that is typed begin with these?
function __kpxctl_at
    string match -q -- (string join -- ' ' kpxctl $argv '*') (string join -- ' ' (commandline -opc) '')
end

complete -c kpxctl -f
${lines.join('\n')}
`;
}

const ZSH_ACTIONS = { file: '_files', directory: '_files -/', group: '_groups', text: ' ' } as const;

function zsh(program: Verb): string {
  return `#compdef kpxctl
# Completion of kpxctl(8) for zsh. ${MADE}

local curcontext=$curcontext context state line
local -A opt_args
local -a verbs

${zshVerb(program)}
`;
}

function zshVerb(verb: Verb): string {
  const options = verb.options.map(({ option, what, value, isRepeatable }) => {
    const takes = value === 'none' ? '' : `:${option.slice(2)}:${zshAction(value)}`;
    return quoted(`${isRepeatable ? '*' : ''}${option}[${what.replaceAll(/[[\]]/g, '\\$&')}]${takes}`);
  });
  if (verb.verbs.length === 0) {
    const places = verb.arguments.map(({ name, value, isRepeatable }, at) =>
      quoted(`${isRepeatable ? '*' : at + 1}:${name}:${zshAction(value)}`),
    );
    return `_arguments ${[...options, ...places].join(' ')}`;
  }
  const verbs = verb.verbs.map((each) => quoted(`${lastOf(each)}:${each.what}`));
  const cases = verb.verbs.map((each) => `${lastOf(each)})\n${zshVerb(each)}\n;;`);
  return `_arguments -C ${options.join(' ')} '1: :->verb' '*:: :->rest'
case $state in
verb)
verbs=(${verbs.join(' ')})
_describe command verbs
;;
rest)
case $line[1] in
${cases.join('\n')}
esac
;;
esac`;
}

const zshAction = (value: Value) => (typeof value === 'string' ? ZSH_ACTIONS[value === 'none' ? 'text' : value] : `(${value.join(' ')})`);
