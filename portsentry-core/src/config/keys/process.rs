//! Keys about the processes of the program.

macro_rules! process {
    ($then:ident $($rest:tt)*) => { $then! { $($rest)* Process {

    run_as: {
        name: "RUN_AS",
        kind: User,
        default: Unset { meaning: "the user that started the program", example: "nobody" },
        reload: Restart,
        summary: "User of the packet process",
        help: "A name or a number. The packet process switches to this user and its groups after \
               all files and sensors are open. Responses, files and the pid file remain with the \
               user that started portsentry. The shipped systemd unit sets User= instead.",
    }
    sandbox: {
        name: "SANDBOX",
        kind: Switch,
        default: Value("1"),
        reload: Restart,
        summary: "Whether the packet process drops all rights that it does not use",
        help: "1: before it reads the first packet, it permanently drops the capabilities, files \
               and system calls that reading packets does not need. 0: it keeps them, for systems \
               on which the sandbox causes problems.",
    }

    } } };
}
