import { afterAll, beforeAll } from 'vitest';
import { clock } from './active-directory/clock.js';
import { delegation } from './active-directory/delegation.js';
import { domainGone } from './active-directory/domain-gone.js';
import { domainNames } from './active-directory/domain-names.js';
import { drives } from './active-directory/drives.js';
import { keytabs } from './active-directory/keytabs.js';
import { outages } from './active-directory/outages.js';
import { page } from './active-directory/page.js';
import { DomainScene, SET_UP_TIMEOUT_MS } from './active-directory/scene.js';
import { shares } from './active-directory/shares.js';
import { sssd } from './active-directory/sssd.js';

/* An Active Directory and its file server: from an empty domain to jobs that use a share with the rights of their user. One domain for all of it. */

const scene = new DomainScene();

beforeAll(() => scene.begin(), SET_UP_TIMEOUT_MS);
afterAll(() => scene.end());

shares(scene);
keytabs(scene);
clock(scene);
outages(scene);
drives(scene);
page(scene);
delegation(scene);
sssd(scene);
domainNames(scene);
domainGone(scene);
