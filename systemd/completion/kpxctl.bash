# Completion of kpxctl(8) for bash.

_kpxctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
    local access='--config --password-file --direct' filters='--user --reason'
    COMPREPLY=()
    case $previous in
    --config | --password-file | --helper-config | --admin-password-file | --definitions)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --output-dir)
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
        ;;
    --user | --reason | --group | --interval | --lines | --since | --admin | --management-url)
        return
        ;;
    --sort)
        mapfile -t COMPREPLY < <(compgen -W 'user state since held cpu' -- "$current")
        return
        ;;
    --state)
        mapfile -t COMPREPLY < <(compgen -W 'idle queued starting booting ready lost ending backoff broken refused' -- "$current")
        return
        ;;
    esac
    if ((COMP_CWORD == 1)); then
        words='status list show top logs explain drain resume reload start stop dead-letters doctor orphans setup-rabbitmq import-config --version'
    elif [[ ${COMP_WORDS[1]} == dead-letters ]]; then
        case ${COMP_WORDS[2]} in
        list) words="$access $filters --json" ;;
        show) words="$access --json" ;;
        replay) words="$access $filters --all" ;;
        drop) words="$access $filters --all --yes" ;;
        reasons) words= ;;
        *) words='list show replay drop reasons' ;;
        esac
    else
        case ${COMP_WORDS[1]} in
        status | drain | resume | reload | start) words='--config --json' ;;
        list) words='--sort --state --config --json' ;;
        show) words='--config --helper-config --json' ;;
        top) words='--interval --sort --config' ;;
        logs) words='--follow --lines --since --kpx --config --helper-config' ;;
        stop) words='--config --json --kill' ;;
        explain) words='--group --config --helper-config --json' ;;
        doctor) words="--user --helper-config --config --password-file --json" ;;
        orphans) words='--size --helper-config --json' ;;
        setup-rabbitmq) words='--admin --admin-password-file --management-url --definitions --apply --new-passwords --config --helper-config' ;;
        import-config) words='--output-dir --force --json' ;;
        esac
        [[ ${COMP_WORDS[1]} == import-config && $current != -* ]] && mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$words --help" -- "$current")
}
complete -o filenames -F _kpxctl kpxctl
