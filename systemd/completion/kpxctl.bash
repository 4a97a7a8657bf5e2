# Completion of kpxctl(8) for bash. Made by `npm run reference` of the verbs and options of the program.

_kpxctl() {
    local IFS=$' \t\n' current=${COMP_WORDS[COMP_CWORD]} words=''
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --config | --helper-config | --password-file | --head | --admin-password-file | --definitions) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    --sort) mapfile -t COMPREPLY < <(compgen -W 'trouble user state since held idle cpu memory' -- "$current"); return ;;
    --state) mapfile -t COMPREPLY < <(compgen -W 'idle queued preparing provisioning starting booting ready lost ending backoff broken refused' -- "$current"); return ;;
    --interval | --lines | --since | --until | --reason | --at | --user | --account | --delegate-to | --admin | --management-url)  return ;;
    --group) mapfile -t COMPREPLY < <(compgen -g -- "$current"); return ;;
    --directory | --output-dir) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
    esac
    local before="${COMP_WORDS[*]:1:COMP_CWORD-1} "
    case $before in
    'status '*) words='--check --config --json --help' ;;
    'list '*) words='--sort --state --config --json --help' ;;
    'show '*) words='--helper-config --config --json --help' ;;
    'top '*) words='--interval --sort --config --help' ;;
    'logs '*) words='--follow --lines --since --kpx --helper-config --config --help' ;;
    'explain '*) words='--group --helper-config --config --json --help' ;;
    'job '*) words='--config --json --help' ;;
    'cancel '*) words='--config --json --help' ;;
    'drain '*) words='--config --json --until --reason --help' ;;
    'resume '*) words='--config --json --help' ;;
    'reload '*) words='--config --json --help' ;;
    'start '*) words='--config --json --helper-config --at --cancel --help' ;;
    'stop '*) words='--config --json --kill --when-idle --all --help' ;;
    'dead-letters list '*) words='--config --password-file --direct --user --reason --json --help' ;;
    'dead-letters show '*) words='--config --password-file --direct --json --help' ;;
    'dead-letters replay '*) words='--config --password-file --direct --user --reason --all --help' ;;
    'dead-letters drop '*) words='--config --password-file --direct --user --reason --all --yes --help' ;;
    'dead-letters reasons '*) words='--help' ;;
    'sealed list '*) words='--config --json --help' ;;
    'sealed refused '*) words='--account --config --json --help' ;;
    'sealed learn '*) words='--config --json --help' ;;
    'sealed purge '*) words='--apply --config --json --help' ;;
    'sealed setup '*) words='--apply --config --helper-config --help' ;;
    'kerberos setup '*) words='--apply --delegate-to --remove --helper-config --help' ;;
    'drives setup '*) words='--apply --remove --helper-config --help' ;;
    'doctor '*) words='--user --config --helper-config --password-file --json --help' ;;
    'orphans '*) words='--size --helper-config --json --help' ;;
    'audit verify '*) words='--directory --head --json --help' ;;
    'setup-rabbitmq '*) words='--admin --admin-password-file --management-url --definitions --apply --new-passwords --config --helper-config --help' ;;
    'import-config '*) words='--output-dir --force --json --help' ;;
    'dead-letters '*) words='list show replay drop reasons --help' ;;
    'sealed '*) words='list refused learn purge setup --help' ;;
    'kerberos '*) words='setup --help' ;;
    'drives '*) words='setup --help' ;;
    'audit '*) words='verify --help' ;;
    ' ') words='status list show top logs explain job cancel drain resume reload start stop dead-letters sealed kerberos drives doctor orphans audit setup-rabbitmq import-config --version --help' ;;
    esac
    case $before in
    'import-config '*) [[ $current == -* ]] || mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    esac
    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o filenames -F _kpxctl kpxctl
