//! The command line.

use clap::{Parser, Subcommand, ValueEnum};

/// bridgefwd's front door: set-up, build, run, test.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cargo xtask run                     build, then the tour of the lab: the whole job on real packets
  cargo xtask build                   target/release/bridgefwd, one file with the eBPF program inside
  cargo xtask test                    every layer of tests
  cargo xtask test netns -- toggle    the tests of one layer whose name contains \"toggle\"
  cargo xtask test kernels            two layers under Debian's 5.10, 6.1, 6.12 and 7.x, in qemu
  cargo xtask fuzz                    libFuzzer on the packet logic, a minute for each target
  cargo xtask bench --quick           what bridgefwd costs, and what others do, on this machine

Exit status: 0 done, 1 it could not be done (or a test failed), 2 it was asked wrongly.
`cargo xtask run` passes on the status of bridgefwd."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find or install what the eBPF build and the tests need
    #[command(after_help = "\
Looks for a rustup nightly with rust-src and a bpf-linker for its LLVM; failing that, for Debian's
own Rust for the web with a core library for BPF. Installs what is missing: packages by apt-get (as root,
or by sudo where that asks no password) and bpf-linker by cargo, kept in
$XDG_CACHE_HOME/bridgefwd (~/.cache/bridgefwd). Asks nothing. A second run only looks.

The other commands do this by themselves.

Example:
  cargo xtask setup")]
    Setup,

    /// Build the eBPF object, and target/release/bridgefwd with it inside
    #[command(after_help = "\
Example:
  cargo xtask build && scp target/release/bridgefwd other-host:")]
    Build,

    /// Build a Debian package and a tarball, for other hosts
    #[command(after_help = "\
Both come to lie in target/dist. Needs cargo-deb, which is built once and kept as bpf-linker is.

Example:
  cargo xtask dist && scp target/dist/*.deb other-host:")]
    Dist,

    /// Build, then run bridgefwd with ARGS as root; the tour of the lab without any
    #[command(after_help = "\
Examples:
  cargo xtask run                     bridgefwd lab tour
  cargo xtask run -- lab up           the lab, left standing
  cargo xtask run -- --help           every command of bridgefwd")]
    Run {
        /// What bridgefwd is given
        #[arg(last = true)]
        args: Vec<String>,
    },

    /// Run the tests, all layers or the given ones
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Every layer but `unit` and `docs` runs as root: it loads programs and makes network namespaces of
its own.
The last line is `N passed, N failed, N skipped`. The exit status is 1 if a test failed, a layer did
not compile, or a layer had no test to run.

Examples:
  cargo xtask test
  cargo xtask test unit bytecode
  cargo xtask test netns -- toggle
  cargo xtask test kernels 5.10"
    )]
    Test {
        /// Not on this machine's kernel
        #[command(subcommand)]
        elsewhere: Option<Elsewhere>,
        /// Layers, in this order if none is given
        #[arg(value_name = "LAYER")]
        layers: Vec<Layer>,
        /// Only tests whose name contains FILTER; more arguments go to the test programs as they are
        #[arg(last = true, value_name = "FILTER")]
        filter: Vec<String>,
    },

    /// Look for bytes that break the packet logic, with cargo-fuzz
    #[command(after_help = "\
Needs cargo-fuzz: cargo install --locked cargo-fuzz. What it has found is kept in tests/fuzz/fixtures and
tried by `cargo xtask test unit`, which does not need it.

Examples:
  cargo xtask fuzz                        every target, a minute each
  cargo xtask fuzz parse --seconds 600")]
    Fuzz {
        /// What to break; all of them one after the other if it is not given
        target: Option<FuzzTarget>,
        /// For how long, each
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u32,
    },

    /// Measure what a packet costs, and what large tables do
    #[command(after_help = "\
Everything is made in network namespaces, with a load generator of its own. Results go to
target/bench: for people, as JSON, and charts. With --publish they go into docs/benchmarks.md and
docs/*.svg as well, with the commit that they are of; do that on a machine that does nothing else.

Examples:
  cargo xtask bench program --quick
  cargo xtask bench --publish             everything, in full, into docs/")]
    Bench {
        /// What to measure; everything if none is given
        #[arg(value_name = "BENCH")]
        benches: Vec<Bench>,
        /// Fewer rounds: figures that spread more
        #[arg(long)]
        quick: bool,
        /// Put the results into docs/
        #[arg(long, conflicts_with = "quick")]
        publish: bool,
        /// Seed of the order in which things are measured
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
    },

    /// Check format, clippy's warnings, and licences
    #[command(after_help = "\
Licences are checked with cargo-deny where it is installed: cargo install --locked cargo-deny

Example:
  cargo xtask lint")]
    Lint,
}

/// Where else tests can run.
#[derive(Debug, Subcommand)]
pub enum Elsewhere {
    /// Load every program and run the bytecode and netns layers under other kernels
    #[command(after_help = "\
Fetches Debian's kernels by this machine's apt (which stays as it is) into $XDG_CACHE_HOME/bridgefwd
(~/.cache/bridgefwd), and boots them under qemu in software: half an hour each, or more. It takes no KVM,
and of the machine nothing but its processors. Tests that are too heavy for that are listed as
skipped. The last lines are the tables of docs/kernels.md.

Examples:
  cargo xtask test kernels                        5.10, 6.1, 6.12 and 7.x
  cargo xtask test kernels 6.1 -- forwarding      one, and the tests whose name contains \"forwarding\"")]
    Kernels {
        /// The beginning of a kernel's version, such as 6.12; the newest such one is taken
        #[arg(value_name = "VERSION")]
        versions: Vec<String>,
        /// Only tests whose name contains FILTER; more arguments go to the test programs as they are
        #[arg(last = true, value_name = "FILTER")]
        filter: Vec<String>,
    },
}

/// What can be fuzzed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum FuzzTarget {
    /// Every reader of headers
    Parse,
    /// Every decision about a packet
    Decide,
    /// Translation there and back
    Translate,
}

impl FuzzTarget {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Parse, Self::Decide, Self::Translate];

    /// As typed; also the name of the program in `tests/fuzz/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Decide => "decide",
            Self::Translate => "translate",
        }
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Bench {
    /// What a packet costs in the program, by BPF_PROG_TEST_RUN
    Program,
    /// What the way from a client to a server costs, by bridgefwd and by what others do in its place
    Path,
    /// What very many bridges, pairs and flows cost: to start, to look at, to change
    Scale,
    /// What dropping in XDP would gain beside our own program, and what it would cost the packets that pass
    Xdp,
}

impl Bench {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Program, Self::Path, Self::Scale, Self::Xdp];

    /// As typed; also what the measuring program calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Path => "path",
            Self::Scale => "scale",
            Self::Xdp => "xdp",
        }
    }
}

/// A layer of tests, the cheapest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Layer {
    /// Host tests of the crates, property tests among them
    Unit,
    /// That what the documents say of the sources is so
    Docs,
    /// The compiled program through BPF_PROG_TEST_RUN
    Bytecode,
    /// End to end between network namespaces
    Netns,
    /// The same frames through the kernel's forwarding and NAT, and through ours
    Oracle,
    /// The commands as a person types them
    Cli,
    /// Beside a Docker engine of the tests' own
    Docker,
    /// The package and the tarball: installed, used, upgraded and removed in a root of their own
    Dist,
    /// By Prometheus, in a browser, in a terminal
    Watch,
}

impl Layer {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 9] = [
        Self::Unit,
        Self::Docs,
        Self::Bytecode,
        Self::Netns,
        Self::Oracle,
        Self::Cli,
        Self::Docker,
        Self::Watch,
        Self::Dist,
    ];

    /// As typed; also the name of the test program in the `tests` crate.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Docs => "docs",
            Self::Bytecode => "bytecode",
            Self::Netns => "netns",
            Self::Oracle => "oracle",
            Self::Cli => "cli",
            Self::Docker => "docker",
            Self::Dist => "dist",
            Self::Watch => "watch",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_layer_is_a_usage_error_that_lists_the_layers() {
        let error = Cli::try_parse_from(["xtask", "test", "nets"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        for layer in Layer::ALL {
            assert!(text.contains(layer.name()), "{text}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_the_filter() {
        let cli = Cli::try_parse_from(["xtask", "test", "netns", "--", "toggle"]).unwrap();
        let Command::Test { layers, filter, elsewhere: None } = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(layers, [Layer::Netns]);
        assert_eq!(filter, ["toggle"]);
    }

    #[test]
    fn kernels_are_named_by_version() {
        let cli = Cli::try_parse_from(["xtask", "test", "kernels", "5.10", "--", "nat"]).unwrap();
        let Command::Test { elsewhere: Some(Elsewhere::Kernels { versions, filter }), .. } =
            cli.command
        else {
            panic!("{cli:?}")
        };
        assert_eq!((versions, filter), (vec!["5.10".to_owned()], vec!["nat".to_owned()]));
    }

    #[test]
    fn a_layer_s_name_is_what_one_types() {
        for layer in Layer::ALL {
            assert_eq!(layer.to_possible_value().unwrap().get_name(), layer.name());
        }
    }
}
