//! Options of the commands that show what there is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// `bridgefwd stats`
#[derive(Args, Debug)]
#[command(after_help = "\
Every packet seen is counted under exactly one reason.

Examples:
  bridgefwd stats
  bridgefwd stats --all
  bridgefwd stats --json")]
pub struct StatsOptions {
    /// Also show the reasons that never happened (--json always does)
    #[arg(long)]
    pub all: bool,
    /// How to show them.
    #[command(flatten)]
    pub output: Output,
}

/// `bridgefwd top`
#[derive(Args, Debug)]
#[command(after_help = "\
? shows the keys. Works over ssh, from 40 columns and 10 lines on; NO_COLOR is
respected. Where no daemon runs it reads the pins, and changes nothing.

Examples:
  bridgefwd top
  bridgefwd top --every 5s
  bridgefwd top --once | less")]
pub struct TopOptions {
    /// Time between two looks: 2s, 500ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = pause)]
    pub every: humantime::Duration,
    /// Print one frame as text, after two looks
    #[arg(long)]
    pub once: bool,
}

/// `bridgefwd metrics`
#[derive(Args, Debug)]
#[command(after_help = "\
Prometheus' text format, as GET /metrics answers it on the control socket and
where `run --metrics` serves it.

Examples:
  bridgefwd metrics
  bridgefwd metrics > /var/lib/prometheus/node-exporter/bridgefwd.prom")]
pub struct MetricsOptions {
    /// Print OpenMetrics instead
    #[arg(long)]
    pub openmetrics: bool,
}

/// `bridgefwd status`
#[derive(Args, Debug)]
#[command(after_help = "\
Exit status 0 where the daemon runs, 3 where it does not; what it left in the
kernel is shown either way.

Examples:
  bridgefwd status
  bridgefwd --netns lab status --json")]
pub struct StatusOptions {
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
}

/// `bridgefwd doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Changes nothing. Works without a daemon, and without root as far as that goes:
what could not be checked is said, and is not in order.

Exit status 0 where all is in order, 4 where something needs attention or could
not be checked, 5 where something is broken.

Examples:
  bridgefwd doctor
  bridgefwd doctor --config ./bridgefwd.toml
  bridgefwd --netns lab doctor --json")]
pub struct DoctorOptions {
    /// Configuration to look at; otherwise /etc/bridgefwd/bridgefwd.toml where it is there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
}

/// `bridgefwd bridges`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  bridgefwd bridges --json")]
pub struct BridgesOptions {
    /// How to show them.
    #[command(flatten)]
    pub output: Output,
}

/// `bridgefwd inspect`
#[derive(Args, Debug)]
#[command(after_help = "\
WHO is a process by its number, a network namespace by its name, or a container
by its name or id, in this order. Where no daemon runs it reads the pins.

Examples:
  bridgefwd inspect web
  bridgefwd inspect 4242 --json
  bridgefwd --netns lab inspect lab-web")]
pub struct InspectOptions {
    /// Container, network namespace or process
    #[arg(value_name = "WHO", value_parser = NonEmptyStringValueParser::new())]
    pub who: String,
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
}

/// How a reading command answers.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON, as the daemon answers it
    #[arg(long)]
    pub json: bool,
}

/// A time between two looks.
fn pause(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration = text.parse().map_err(|_| "use a time as 2s or 500ms")?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(3600);
    if allowed.contains(&*time) { Ok(time) } else { Err("use 100ms to 1h".into()) }
}
