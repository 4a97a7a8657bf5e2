/** Names further away than this many edits are no help. */
const SUGGESTION_EDITS_MAX = 3;
/** Fewer characters begin too many names. */
const BEGINNING_CHARS_MIN = 3;

/** The known name that a misspelt one was probably meant to be: one that it begins, or the nearest one. */
export function nearestName(misspelt: string, known: readonly string[]): string | undefined {
  const begun = known.filter((name) => misspelt.length >= BEGINNING_CHARS_MIN && name.startsWith(misspelt));
  if (begun.length === 1) return begun[0];
  const [nearest] = known.map((name) => ({ name, edits: editDistance(misspelt, name) })).sort((a, b) => a.edits - b.edits);
  return nearest !== undefined && nearest.edits <= Math.min(SUGGESTION_EDITS_MAX, nearest.name.length / 2) ? nearest.name : undefined;
}

/** Levenshtein's distance: written out because the helper would otherwise carry one more dependency for these lines. */
function editDistance(a: string, b: string): number {
  let distance = b.length;
  let row = Array.from({ length: b.length }, (_, index) => index + 1);
  for (let i = 0; i < a.length; i++) {
    let diagonal = i;
    distance = i + 1;
    row = row.map((above, j) => {
      distance = Math.min(diagonal + (a[i] === b[j] ? 0 : 1), above + 1, distance + 1);
      diagonal = above;
      return distance;
    });
  }
  return distance;
}
