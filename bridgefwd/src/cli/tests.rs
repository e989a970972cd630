//! Command lines, good and bad.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[track_caller]
fn refused(line: &str, kind: ErrorKind) {
    let error = parse(line).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_an_example() {
    fn check(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example"), "{} has no example", command.get_name());
        if command.get_name() != "lab" {
            command.get_subcommands().for_each(check);
        }
    }
    check(&Cli::command());
}

#[test]
fn global_options_go_before_and_after_the_command() {
    for line in [
        "bridgefwd --netns lab --socket /s --pin-dir /p pair list",
        "bridgefwd pair list --netns lab --socket /s --pin-dir /p",
        "bridgefwd --netns lab pair --socket /s list --pin-dir /p",
    ] {
        let instance = parse(line).unwrap().global.instance();
        assert_eq!(
            instance,
            Instance::new(Some("lab".into()), Some("/s".into()), Some("/p".into()))
        );
    }
}

#[test]
fn bridges_are_given_together_or_one_by_one() {
    for line in [
        "bridgefwd run --bridge a --bridge b --netns lab",
        "bridgefwd run --bridge a b --netns lab",
        "bridgefwd run --uplink u --bridge a b",
    ] {
        let Command::Run(run) = parse(line).unwrap().command else { panic!("{line}") };
        assert_eq!(run.bridges, ["a", "b"]);
    }
    let Command::Run(run) = parse("bridgefwd run --config f").unwrap().command else {
        panic!("not run")
    };
    assert_eq!((run.bridges.len(), run.attach), (0, AttachOption::Auto));
}

#[test]
fn nat_is_a_word_or_addresses() {
    for (given, kept) in [
        ("masquerade", "masquerade"),
        ("none", "none"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1,10.0.0.2,10.0.0.9", "10.0.0.1-10.0.0.2,10.0.0.9"),
    ] {
        let cli = parse(&format!("bridgefwd pair allow a b --nat {given} --drain")).unwrap();
        let Command::Pair(PairCommand::Allow { pair, nat, nat6, mapping }) = cli.command else {
            panic!()
        };
        assert_eq!((nat.as_deref(), pair.drain), (Some(kept), true));
        assert_eq!((nat6, mapping), (None, None));
    }
    let line = "bridgefwd pair allow a b --nat6 fd00::1 --mapping endpoint-independent";
    let Command::Pair(PairCommand::Allow { nat, nat6, mapping, .. }) = parse(line).unwrap().command
    else {
        panic!()
    };
    assert_eq!((nat, nat6.as_deref()), (None, Some("fd00::1")));
    assert_eq!(mapping.as_deref(), Some("endpoint-independent"));
    for wrong in ["--nat 10.0.0", "--nat ::1", "--nat6 10.0.0.1", "--mapping cone"] {
        refused(&format!("bridgefwd pair allow a b {wrong}"), ErrorKind::ValueValidation);
    }
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    for (line, kind) in [
        ("bridgefwd run --bridge", ErrorKind::InvalidValue),
        ("bridgefwd run --bridge a --unlisted maybe", ErrorKind::InvalidValue),
        ("bridgefwd run --bridge a --max-flows 0", ErrorKind::ValueValidation),
        ("bridgefwd run --bridge a --flows-per-source 0", ErrorKind::ValueValidation),
        ("bridgefwd run --bridge a --metrics 127.0.0.1", ErrorKind::ValueValidation),
        ("bridgefwd run --bridge a --ports maybe", ErrorKind::InvalidValue),
        ("bridgefwd run --bridge a --attach xdp", ErrorKind::InvalidValue),
        ("bridgefwd run --bridge a --timer idle=9", ErrorKind::ValueValidation),
        ("bridgefwd run --bridge a --timer icmp=0", ErrorKind::ValueValidation),
        ("bridgefwd pair allow a", ErrorKind::MissingRequiredArgument),
        ("bridgefwd pair deny a b --nat none", ErrorKind::UnknownArgument),
        ("bridgefwd pair list --drain", ErrorKind::UnknownArgument),
        ("bridgefwd flows --proto quic", ErrorKind::InvalidValue),
        ("bridgefwd down --json", ErrorKind::UnknownArgument),
        ("bridgefwd flow", ErrorKind::InvalidSubcommand),
    ] {
        refused(line, kind);
    }
    let empty = Cli::try_parse_from(["bridgefwd", "pair", "allow", "", "b"]).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::InvalidValue);
}

#[test]
fn a_file_is_named_or_not() {
    for (line, named) in [("plan", None), ("plan f --json", Some("f")), ("apply f", Some("f"))] {
        let file = match parse(&format!("bridgefwd {line}")).unwrap().command {
            Command::Plan(options) => options.file,
            Command::Apply(options) => options.file,
            other => panic!("{other:?}"),
        };
        assert_eq!(file, named.map(Into::into), "{line}");
    }
    let Command::Save(save) = parse("bridgefwd save -").unwrap().command else { panic!() };
    assert_eq!(save.file, Some("-".into()));
    refused("bridgefwd reload f", ErrorKind::UnknownArgument);
    refused("bridgefwd check f g", ErrorKind::UnknownArgument);
    refused("bridgefwd save f --json", ErrorKind::UnknownArgument);
}
