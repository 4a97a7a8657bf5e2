import { exitCodes } from '@kpx/broker/output/exit';
import { bold, complain, say } from '@kpx/broker/output/terminal';
import { VERSION } from '@kpx/protocol';
import { Command } from 'commander';
import { addAudit } from './audit/command.js';
import { addDeadLetters } from './dead-letters/command.js';
import { addDoctor } from './doctor/command.js';
import { addDrives } from './drives/command.js';
import { addExplain } from './explain.js';
import { addImportConfig } from './import-config/command.js';
import { addJob } from './job.js';
import { addKerberos } from './kerberos/command.js';
import { addList } from './list.js';
import { addLogs } from './logs.js';
import { addOperate } from './operate.js';
import { addOrphans } from './orphans.js';
import { addSealed } from './sealed/command.js';
import { addSetupRabbitmq } from './setup-rabbitmq/command.js';
import { addShow } from './show.js';
import { addStatus } from './status.js';
import { addTop } from './top.js';

/** The operator's program: every verb with its options, and what runs it. */
export function kpxctl(): Command {
  const program = new Command('kpxctl')
    .description(
      'For operators of kpx: ask and tell the running broker, check the set-up, handle jobs that could not be run, move from the script that kpx replaces.',
    )
    .configureHelp({ styleTitle: bold })
    .configureOutput({ writeOut: say, writeErr: complain })
    .showHelpAfterError('Try --help.')
    .version(`kpxctl ${VERSION}`, '--version', 'the version of kpx')
    .helpOption('--help', 'this text')
    .helpCommand(false)
    .exitOverride()
    .addHelpText('after', `\n${EXIT_CODES}`);
  addStatus(program);
  addList(program);
  addShow(program);
  addTop(program);
  addLogs(program);
  addExplain(program);
  addJob(program);
  addOperate(program);
  addDeadLetters(program);
  addSealed(program);
  addKerberos(program);
  addDrives(program);
  addDoctor(program);
  addOrphans(program);
  addAudit(program);
  addSetupRabbitmq(program);
  addImportConfig(program);
  return program;
}

const EXIT_CODES = exitCodes('kpxctl');
