//! Options that the commands which show what there is have in common.

use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// How a reading command answers.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON, as the daemon answers it; `bridgefwd schema` describes it
    #[arg(long)]
    pub json: bool,
}

/// How a listing is shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct Listing {
    /// How it answers.
    #[command(flatten)]
    pub output: Output,
    /// Show it again and again, by default every 2 seconds; where the output is no terminal one after
    /// the other, with --json a line each
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    #[arg(value_parser = seconds)]
    pub watch: Option<Duration>,
}

/// Numbers as they are.
#[derive(Args, Clone, Copy, Debug)]
pub struct Exact {
    /// Show bytes and packets to the last digit, rather than in units
    #[arg(long)]
    pub bytes: bool,
}

/// By which clock times are shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct Clock {
    /// Times in UTC, rather than by the clock of this host (or of the zone that TZ names)
    #[arg(long)]
    pub utc: bool,
}

impl Clock {
    /// The zone of the times.
    #[must_use]
    pub fn zone(self) -> TimeZone {
        if self.utc { TimeZone::UTC } else { TimeZone::system() }
    }
}

/// A time as people write it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    /// The same everywhere.
    Moment(SystemTime),
    /// What the clock showed.
    Clock(DateTime),
}

impl At {
    /// Reads one: `15m` that long ago, a time with its distance from UTC, or one by the clock.
    ///
    /// # Errors
    ///
    /// Says how to write one.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = humantime::parse_duration(text) {
            let moment = SystemTime::now().checked_sub(ago);
            return moment.map(Self::Moment).ok_or_else(|| "that is before all times".into());
        }
        if let Ok(moment) = text.parse::<Timestamp>() {
            let moment = SystemTime::try_from(moment).map_err(|error| error.to_string())?;
            return Ok(Self::Moment(moment));
        }
        text.parse::<DateTime>().map(Self::Clock).map_err(|_| {
            "write a time, as '2026-11-25 16:03:08' or 2026-11-25T16:03:08Z, or how long ago, as 15m"
                .into()
        })
    }

    /// The moment that is meant where the clock goes by that zone. Of an hour that comes twice the first
    /// one; of one that never comes, as much later.
    ///
    /// # Errors
    ///
    /// There is no such time.
    pub fn moment(self, zone: &TimeZone) -> Result<SystemTime, String> {
        match self {
            Self::Moment(moment) => Ok(moment),
            Self::Clock(time) => {
                let time = zone.to_ambiguous_zoned_datetime(time).compatible();
                time.and_then(|time| SystemTime::try_from(time.timestamp()))
                    .map_err(|error| error.to_string())
            }
        }
    }
}

/// A time between two looks.
pub(super) fn pause(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration = text.parse().map_err(|_| "use a time as 2s or 500ms")?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(3600);
    if allowed.contains(&*time) { Ok(time) } else { Err("use 100ms to 1h".into()) }
}

/// The same, where a number alone is one of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) => Err("use 0.1 to 3600 seconds".into()),
        Err(_) => pause(text).map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text: &str, zone: &TimeZone| {
            let moment = At::parse(text).unwrap().moment(zone).unwrap();
            moment.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
        };
        for zone in [&berlin, &TimeZone::UTC] {
            assert_eq!(at("2026-11-25T16:03:08Z", zone), 1_795_622_588);
            assert_eq!(at("2026-11-25 17:03:08+01:00", zone), 1_795_622_588);
        }
        assert_eq!(at("2026-11-25 17:03:08", &berlin), 1_795_622_588);
        assert_eq!(at("2026-11-25T16:03:08", &TimeZone::UTC), 1_795_622_588);
        let ago = SystemTime::now().duration_since(UNIX_EPOCH + at_secs("15m")).unwrap().as_secs();
        assert!((899..=901).contains(&ago), "{ago}");
        for wrong in ["yesterday", "", "2026-13-01 00:00:00", "25:00"] {
            assert!(At::parse(wrong).is_err(), "{wrong}");
        }
    }

    const UNIX_EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn at_secs(text: &str) -> Duration {
        let moment = At::parse(text).unwrap().moment(&TimeZone::UTC).unwrap();
        moment.duration_since(UNIX_EPOCH).unwrap()
    }

    #[test]
    fn seconds_between_looks() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["0", "-1", "nan", "inf", "1e9", "2h", "often", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
