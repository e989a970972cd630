//! Timers as users set and read them: after how many seconds without a packet a flow is over.
//!
//! There are six for users and more in the map, which has one for each state of a flow.

use bridgefwd_common::contract::{FlowState, TIMEOUTS};

use crate::api::types::Timers;
use crate::failure::{Failure, Result};

/// One timer.
struct Timer {
    name: &'static str,
    /// What it sets; the first stands for all when it is read.
    states: &'static [FlowState],
    /// What the RFC asks for at least, in seconds, and where.
    minimum_s: u32,
    rfc: &'static str,
}

impl Timer {
    /// What the map has for it, in seconds.
    fn value(&self, timeouts_s: &[u32; TIMEOUTS]) -> u32 {
        let state = self.states.first().copied().unwrap_or(FlowState::Free);
        timeouts_s.get(state as usize).copied().unwrap_or_default()
    }
}

const TIMERS: [Timer; 6] = [
    Timer {
        name: "opening",
        states: &[FlowState::TcpOpening, FlowState::TcpAnswered],
        minimum_s: 240,
        rfc: "RFC 5382 REQ-5",
    },
    Timer {
        name: "established",
        states: &[FlowState::TcpEstablished, FlowState::TcpFinOriginal, FlowState::TcpFinReply],
        minimum_s: 7440,
        rfc: "RFC 5382 REQ-5",
    },
    Timer {
        name: "closing",
        states: &[FlowState::TcpClosed, FlowState::TcpReset],
        minimum_s: 240,
        rfc: "RFC 5382 REQ-5",
    },
    Timer {
        name: "udp_one_way",
        states: &[FlowState::UdpOneWay],
        minimum_s: 120,
        rfc: "RFC 4787 REQ-5",
    },
    Timer {
        name: "udp_two_way",
        states: &[FlowState::UdpTwoWay],
        minimum_s: 120,
        rfc: "RFC 4787 REQ-5",
    },
    Timer { name: "icmp", states: &[FlowState::Icmp], minimum_s: 60, rfc: "RFC 5508 REQ-2" },
];

/// The timers that somebody asked for, in seconds; the rest stay as they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TimerChanges([Option<u32>; TIMERS.len()]);

impl TimerChanges {
    /// To all that the map has.
    #[must_use]
    pub fn all(timeouts_s: &[u32; TIMEOUTS]) -> Self {
        Self(TIMERS.map(|timer| Some(timer.value(timeouts_s))))
    }

    /// Adds `NAME=DURATION`; of two for one name the later holds.
    ///
    /// # Errors
    ///
    /// Says which names there are, or what is wrong with the duration.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let (name, duration) = text.split_once('=').ok_or_else(|| {
            Failure::usage(format!("{text:?} is no timer: write NAME=SECONDS, as icmp=60"))
        })?;
        let seconds =
            seconds(duration).map_err(|why| Failure::usage(format!("timer {name}: {why}")))?;
        self.set(name, seconds)
    }

    /// These, and where they say nothing what `others` say.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        let mut merged = others;
        for (to, from) in merged.0.iter_mut().zip(self.0) {
            *to = from.or(*to);
        }
        merged
    }

    /// Is one among them of which `others` say something else?
    #[must_use]
    pub fn hides(self, others: Self) -> bool {
        let both = self.0.into_iter().zip(others.0);
        both.into_iter().any(|(own, other)| own.is_some() && other.is_some() && own != other)
    }

    /// Puts them into the map's timeouts.
    pub fn apply(self, timeouts_s: &mut [u32; TIMEOUTS]) {
        for (timer, wanted) in TIMERS.iter().zip(self.0) {
            let Some(seconds) = wanted else { continue };
            for &state in timer.states {
                if let Some(timeout) = timeouts_s.get_mut(state as usize) {
                    *timeout = seconds;
                }
            }
        }
    }

    /// Sets one.
    ///
    /// # Errors
    ///
    /// Says which names there are.
    pub fn set(&mut self, name: &str, seconds: u32) -> Result<()> {
        let mut slots = TIMERS.iter().zip(&mut self.0);
        let Some((_, slot)) = slots.find(|(timer, _)| timer.name == name) else {
            let names = TIMERS.map(|timer| timer.name).join(", ");
            return Err(Failure::usage(format!("there is no timer {name:?}; there are: {names}")));
        };
        *slot = Some(seconds);
        Ok(())
    }
}

/// What the timers are called.
pub fn names() -> impl Iterator<Item = &'static str> {
    TIMERS.iter().map(|timer| timer.name)
}

/// Each timer's name and seconds.
pub fn by_name(timers: &Timers) -> impl Iterator<Item = (&'static str, u64)> {
    let Timers { opening, established, closing, udp_one_way, udp_two_way, icmp } = *timers;
    names().zip([opening, established, closing, udp_one_way, udp_two_way, icmp])
}

/// The timers in force.
#[must_use]
pub fn in_force(timeouts_s: &[u32; TIMEOUTS]) -> Timers {
    let of = |state: FlowState| timeouts_s.get(state as usize).copied().unwrap_or_default().into();
    Timers {
        opening: of(FlowState::TcpOpening),
        established: of(FlowState::TcpEstablished),
        closing: of(FlowState::TcpClosed),
        udp_one_way: of(FlowState::UdpOneWay),
        udp_two_way: of(FlowState::UdpTwoWay),
        icmp: of(FlowState::Icmp),
    }
}

/// The timers that are shorter than the RFCs ask for, a sentence each.
#[must_use]
pub fn warnings(timeouts_s: &[u32; TIMEOUTS]) -> Vec<String> {
    let value = |timer: &Timer| timer.value(timeouts_s);
    TIMERS
        .iter()
        .filter(|timer| value(timer) < timer.minimum_s)
        .map(|timer| {
            format!(
                "the timer {} is {} s, less than the {} s that {} asks for",
                timer.name,
                value(timer),
                timer.minimum_s,
                timer.rfc
            )
        })
        .collect()
}

/// Whole seconds, at least one: `240`, or a duration as `2h4m`.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is neither seconds nor a duration as 2h4m");
    let seconds = match text.parse::<i128>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let duration = humantime::parse_duration(text).map_err(|_| wrong())?;
            if duration.subsec_nanos() != 0 {
                return Err(format!("{text:?} is not a whole number of seconds"));
            }
            duration.as_secs().into()
        }
    };
    u32::try_from(seconds)
        .ok()
        .filter(|&seconds| seconds > 0)
        .ok_or_else(|| format!("{text:?} is out of range: from 1 to {} seconds", u32::MAX))
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::Settings;

    use super::*;

    #[test]
    fn seconds_and_durations() {
        for (text, value) in
            [("1", 1), ("7440", 7440), ("2h4m", 7440), ("2h 4m", 7440), ("90s", 90)]
        {
            assert_eq!(seconds(text), Ok(value), "{text}");
        }
        for text in ["0", "-1", "", "0s", "1500ms", "soon", "4294967296", "1.5"] {
            assert!(seconds(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn every_timer_sets_its_states_and_is_read_back() {
        let mut timeouts = Settings::DEFAULT_TIMEOUTS_S;
        let mut changes = TimerChanges::default();
        for (at, timer) in (1..).zip(&TIMERS) {
            changes.add(&format!("{}={at}", timer.name)).unwrap();
        }
        changes.apply(&mut timeouts);
        let expected = Timers {
            opening: 1,
            established: 2,
            closing: 3,
            udp_one_way: 4,
            udp_two_way: 5,
            icmp: 6,
        };
        assert_eq!(in_force(&timeouts), expected);
        let states = FlowState::ALL.iter().filter(|&&state| state != FlowState::Free);
        assert!(states.clone().all(|&state| (1..=6).contains(&timeouts[state as usize])));
        assert_eq!(warnings(&timeouts).len(), TIMERS.len());
        assert_eq!(warnings(&Settings::DEFAULT_TIMEOUTS_S), [""; 0]);
    }

    #[test]
    fn options_come_before_the_file() {
        let (mut options, mut file) = (TimerChanges::default(), TimerChanges::default());
        options.add("icmp=70").unwrap();
        file.add("icmp=80").unwrap();
        file.add("opening=300").unwrap();
        let mut timeouts = Settings::DEFAULT_TIMEOUTS_S;
        options.or(file).apply(&mut timeouts);
        let now = in_force(&timeouts);
        assert_eq!((now.icmp, now.opening, now.closing), (70, 300, 240));
    }

    #[test]
    fn mistakes_are_named() {
        let mut changes = TimerChanges::default();
        for (text, part) in
            [("icmp", "NAME=SECONDS"), ("idle=3", "udp_two_way"), ("icmp=0", "icmp")]
        {
            let why = changes.add(text).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(changes, TimerChanges::default());
    }
}
