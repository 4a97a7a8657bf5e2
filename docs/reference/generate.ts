// `npm run reference`: writes docs/configuration.md, the schemas for editors, the keys in the man pages, and the completion of kpxctl. A test says when they are old.
import { writeFileSync } from 'node:fs';
import { outputs } from './outputs.js';

for (const [file, content] of Object.entries(outputs())) {
  writeFileSync(new URL(`../../${file}`, import.meta.url), content);
  console.log(file);
}
