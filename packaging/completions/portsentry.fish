# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_portsentry_global_optspecs
    string join \n stealth connect bind= m/method= i/interface= x/exclude= L/disable-local-check S/disable-service-check l/logoutput= syslog-socket= D/daemon pidfile= c/configfile= d/debug v/verbose V/version h/help
end

function __fish_portsentry_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_portsentry_global_optspecs) -- $cmd 2>/dev/null
    or return 0
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_portsentry_using_subcommand
    set -l cmd (__fish_portsentry_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c portsentry -n "__fish_portsentry_needs_command" -l bind -d 'With --connect: bind only to this address (repeat for more) [default: all of this host]' -r
complete -c portsentry -n "__fish_portsentry_needs_command" -s m -l method -d 'Capture method' -r -f -a "pcap\t'libpcap'
raw\t'Packet sockets, without a library'"
complete -c portsentry -n "__fish_portsentry_needs_command" -s i -l interface -d 'Interface to watch: a name (repeat for more), any, ALL, or ALL_NLO, which leaves out loopback [default: ALL_NLO; with the method raw, ALL]' -r
complete -c portsentry -n "__fish_portsentry_needs_command" -s x -l exclude -d 'Interface to exclude from ALL or ALL_NLO (repeat for more); a * at its end matches any characters' -r
complete -c portsentry -n "__fish_portsentry_needs_command" -s l -l logoutput -d 'Output of the log (repeat for both)' -r -f -a "stdout\t'Standard output, errors to standard error'
syslog\t'The system log, facility daemon'"
complete -c portsentry -n "__fish_portsentry_needs_command" -l syslog-socket -d 'Socket of the system logger' -r -F
complete -c portsentry -n "__fish_portsentry_needs_command" -l pidfile -d 'File that holds the process id while portsentry runs' -r -F
complete -c portsentry -n "__fish_portsentry_needs_command" -s c -l configfile -d 'Configuration file [default: /etc/portsentry/portsentry.conf; if it is missing, a built-in one that only logs]' -r -F
complete -c portsentry -n "__fish_portsentry_needs_command" -l stealth -d 'Watch invisibly: capture packets, bind no port (default)'
complete -c portsentry -n "__fish_portsentry_needs_command" -l connect -d 'Bind the ports and accept connections, optionally with a reply (PORT_BANNER). Half-open scans are not detected'
complete -c portsentry -n "__fish_portsentry_needs_command" -s L -l disable-local-check -d 'Treat packets that this host sends to itself like those of other hosts. With blocking on, this host may block itself'
complete -c portsentry -n "__fish_portsentry_needs_command" -s S -l disable-service-check -d 'Watch ports even if a local program serves them'
complete -c portsentry -n "__fish_portsentry_needs_command" -s D -l daemon -d 'Run in the background, and log only to the system log'
complete -c portsentry -n "__fish_portsentry_needs_command" -s d -l debug -d 'Log debug lines as well, including the effective configuration'
complete -c portsentry -n "__fish_portsentry_needs_command" -s v -l verbose -d 'Log more, such as which hosts were ignored'
complete -c portsentry -n "__fish_portsentry_needs_command" -s V -l version -d 'Print the version and exit'
complete -c portsentry -n "__fish_portsentry_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c portsentry -n "__fish_portsentry_needs_command" -f -a "check" -d 'Check the configuration and the ignore file, and show what would be watched'
complete -c portsentry -n "__fish_portsentry_needs_command" -f -a "replay" -d 'Show what would have been detected in capture files'
complete -c portsentry -n "__fish_portsentry_needs_command" -f -a "generate" -d 'Write a manual page, completions or a configuration to standard output'
complete -c portsentry -n "__fish_portsentry_using_subcommand check" -l show -d 'Print only the value of this key, for scripts (repeat for more); an empty line if it has none' -r -f -a "TCP_PORTS\t''
UDP_PORTS\t''
SERVED_GRACE\t''
PORT_BANNER\t''
IGNORE_FILE\t''
SCAN_TRIGGER\t''
BLOCK_TCP\t''
BLOCK_UDP\t''
KILL_ROUTE\t''
KILL_HOSTS_DENY\t''
HOSTS_DENY_FILE\t''
KILL_RUN_CMD\t''
KILL_RUN_CMD_FIRST\t''
RESPONSE_TIMEOUT\t''
BLOCKED_FILE\t''
NEVER_BLOCK\t''
BLOCK_RATE\t''
HISTORY_FILE\t''
RESOLVE_HOST\t''
CAPTURE_BUFFER\t''
CAPTURE_LATENCY\t''
CAPTURE_RINGS\t''
RUN_AS\t''
SANDBOX\t''"
complete -c portsentry -n "__fish_portsentry_using_subcommand check" -s c -l configfile -d 'Configuration file [default: /etc/portsentry/portsentry.conf; if it is missing, a built-in one that only logs]' -r -F
complete -c portsentry -n "__fish_portsentry_using_subcommand check" -s d -l debug -d 'Log debug lines as well, including the effective configuration'
complete -c portsentry -n "__fish_portsentry_using_subcommand check" -s v -l verbose -d 'Log more, such as which hosts were ignored'
complete -c portsentry -n "__fish_portsentry_using_subcommand check" -s h -l help -d 'Print help'
complete -c portsentry -n "__fish_portsentry_using_subcommand replay" -l host -d 'Address or network to treat as this host (repeat for more) [default: every destination]' -r
complete -c portsentry -n "__fish_portsentry_using_subcommand replay" -s c -l configfile -d 'Configuration file [default: /etc/portsentry/portsentry.conf; if it is missing, a built-in one that only logs]' -r -F
complete -c portsentry -n "__fish_portsentry_using_subcommand replay" -s L -l disable-local-check -d 'Treat packets that a host sends to itself like other packets'
complete -c portsentry -n "__fish_portsentry_using_subcommand replay" -s d -l debug -d 'Log debug lines as well, including the effective configuration'
complete -c portsentry -n "__fish_portsentry_using_subcommand replay" -s v -l verbose -d 'Log more, such as which hosts were ignored'
complete -c portsentry -n "__fish_portsentry_using_subcommand replay" -s h -l help -d 'Print help'
complete -c portsentry -n "__fish_portsentry_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
