# Completion of kpxctl(8) for fish.

set -l letters 'list show replay drop reasons'
set -l at __fish_seen_subcommand_from

complete -c kpxctl -f
complete -c kpxctl -l help -d 'a summary'
complete -c kpxctl -n __fish_use_subcommand -l version -d 'the version'

complete -c kpxctl -n __fish_use_subcommand -a status -d 'what the running broker is doing'
complete -c kpxctl -n __fish_use_subcommand -a list -d 'a line for each user and executor'
complete -c kpxctl -n __fish_use_subcommand -a show -d 'all that is known of a user'
complete -c kpxctl -n __fish_use_subcommand -a top -d 'list, live'
complete -c kpxctl -n __fish_use_subcommand -a logs -d "an executor's log"
complete -c kpxctl -n __fish_use_subcommand -a explain -d 'what a job of a user would meet now'
complete -c kpxctl -n __fish_use_subcommand -a drain -d 'start no executor any more'
complete -c kpxctl -n __fish_use_subcommand -a resume -d 'start executors again'
complete -c kpxctl -n __fish_use_subcommand -a reload -d 'read the configuration again'
complete -c kpxctl -n __fish_use_subcommand -a start -d 'start an executor'
complete -c kpxctl -n __fish_use_subcommand -a stop -d 'end an executor'
complete -c kpxctl -n __fish_use_subcommand -a dead-letters -d 'the jobs that could not be run'
complete -c kpxctl -n __fish_use_subcommand -a doctor -d 'look at the whole set-up'
complete -c kpxctl -n __fish_use_subcommand -a orphans -d 'directories of accounts that are gone'
complete -c kpxctl -n __fish_use_subcommand -a import-config -d 'take over the settings of the script before kpx'

complete -c kpxctl -n "$at status list show top logs explain drain resume reload start stop; and not $at dead-letters" -l config -r -F -d 'configuration of kpx-broker'
complete -c kpxctl -n "$at status list show explain drain resume reload start stop import-config; and not $at dead-letters" -l json -d 'for programs'
complete -c kpxctl -n "$at list top; and not $at dead-letters" -l sort -x -a 'user state since held cpu' -d 'in which order'
complete -c kpxctl -n "$at list; and not $at dead-letters" -l state -x -a 'idle queued starting booting ready lost ending backoff broken refused' -d 'those in this state'
complete -c kpxctl -n "$at top" -l interval -x -d 'how often to ask, in seconds'
complete -c kpxctl -n "$at logs" -l follow -d 'go on with what is written from now on'
complete -c kpxctl -n "$at logs" -l lines -x -d 'the last ones'
complete -c kpxctl -n "$at logs" -l since -x -d 'those since then'
complete -c kpxctl -n "$at logs" -l kpx -d 'what kpx says of the user'
complete -c kpxctl -n "$at stop" -l kill -d 'by force'
complete -c kpxctl -n "$at explain" -l group -x -a '(__fish_complete_groups)' -d 'as if in this OS group'
complete -c kpxctl -n "$at doctor" -l user -x -d 'also whether this KNIME user can get an executor'
complete -c kpxctl -n "$at doctor" -l config -r -F -d 'configuration of kpx-broker'
complete -c kpxctl -n "$at doctor" -l password-file -r -F -d "file with RabbitMQ's password"
complete -c kpxctl -n "$at show logs explain; and not $at dead-letters" -l helper-config -r -F -d 'configuration of kpx-privhelper'
complete -c kpxctl -n "$at doctor orphans" -l helper-config -r -F -d 'configuration of kpx-privhelper'
complete -c kpxctl -n "$at doctor orphans" -l json -d 'for programs'
complete -c kpxctl -n "$at orphans" -l size -d 'also how much is in them'
complete -c kpxctl -n "$at import-config" -F
complete -c kpxctl -n "$at import-config" -l output-dir -x -a '(__fish_complete_directories)' -d 'made new'
complete -c kpxctl -n "$at import-config" -l force -d 'replace an earlier import'

complete -c kpxctl -n "$at dead-letters; and not $at $letters" -a list -d 'a line for each'
complete -c kpxctl -n "$at dead-letters; and not $at $letters" -a show -d 'one of them'
complete -c kpxctl -n "$at dead-letters; and not $at $letters" -a replay -d 'for another trial'
complete -c kpxctl -n "$at dead-letters; and not $at $letters" -a drop -d 'remove for good'
complete -c kpxctl -n "$at dead-letters; and not $at $letters" -a reasons -d 'every code explained'
complete -c kpxctl -n "$at dead-letters; and $at list show replay drop" -l config -r -F -d 'configuration of kpx-broker'
complete -c kpxctl -n "$at dead-letters; and $at list show replay drop" -l password-file -r -F -d "file with RabbitMQ's password"
complete -c kpxctl -n "$at dead-letters; and $at list show replay drop" -l direct -d 'without the broker'
complete -c kpxctl -n "$at dead-letters; and $at list replay drop" -l user -x -d 'those of a KNIME user'
complete -c kpxctl -n "$at dead-letters; and $at list replay drop" -l reason -x -d 'those parked for a reason'
complete -c kpxctl -n "$at dead-letters; and $at list show" -l json -d 'for programs'
complete -c kpxctl -n "$at dead-letters; and $at replay drop" -l all -d 'all of them'
complete -c kpxctl -n "$at dead-letters; and $at drop" -l yes -d 'without a question'
