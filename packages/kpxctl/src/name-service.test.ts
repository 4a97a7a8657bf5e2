import { sourcesOf } from '@kpx/broker/host/name-service-down';
import { expect, it } from 'vitest';

it.each([
  ['passwd: files systemd sss\ngroup: files\n', ['files', 'systemd', 'sss']],
  ['# passwd: nis\n  passwd:\tfiles [NOTFOUND=return] winbind # and no more\n', ['files', 'winbind']],
  ['passwd:files [!UNAVAIL=return SUCCESS=merge] sss', ['files', 'sss']],
  ['group: files sss\n', ['files']],
])('reads from %j where accounts come from', (nsswitch, sources) => {
  expect(sourcesOf(nsswitch)).toEqual(sources);
});
