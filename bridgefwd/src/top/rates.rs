//! Rates, of counters that are looked at again and again.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

/// How many looks are remembered: as many as the widest line of them has columns.
pub const REMEMBERED: usize = 40;

/// What is known of one counter of bytes and one of packets.
#[derive(Clone, Debug)]
pub struct Rate {
    at: Instant,
    counters: [u64; 2],
    /// Bytes a second.
    pub bytes: f64,
    /// Packets a second.
    pub packets: f64,
    /// Bytes a second at each look, the latest last.
    pub history: VecDeque<f64>,
}

/// The rates of many things, by their keys.
#[derive(Clone, Debug)]
pub struct Rates<K> {
    known: HashMap<K, Rate>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// Takes in what the counters are at `now`; things that are not among them are forgotten.
    pub fn take(&mut self, now: Instant, counters: impl IntoIterator<Item = (K, u64, u64)>) {
        for (key, bytes, packets) in counters {
            let is = [bytes, packets];
            let rate = self.known.entry(key).or_insert_with(|| Rate {
                at: now,
                counters: is,
                bytes: 0.0,
                packets: 0.0,
                history: VecDeque::new(),
            });
            let seconds = now.saturating_duration_since(rate.at).as_secs_f64();
            if seconds > 0.0 {
                // One that has fallen began anew.
                let grown = |at: usize| is[at].saturating_sub(rate.counters[at]) as f64 / seconds;
                (rate.bytes, rate.packets) = (grown(0), grown(1));
            }
            (rate.at, rate.counters) = (now, is);
            rate.history.push_back(rate.bytes);
            if rate.history.len() > REMEMBERED {
                rate.history.pop_front();
            }
        }
        self.known.retain(|_, rate| rate.at == now);
    }

    /// What is known of one.
    pub fn get(&self, key: &K) -> Option<&Rate> {
        self.known.get(key)
    }
}

/// The last `width` looks as a line of blocks, the highest of them full.
#[must_use]
pub fn spark(history: &VecDeque<f64>, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let from = history.len().saturating_sub(width);
    let shown = history.iter().skip(from);
    let most = shown.clone().copied().fold(0.0, f64::max);
    let line = shown.map(|rate| {
        if *rate <= 0.0 {
            return ' ';
        }
        let height = (rate / most * 8.0).ceil().clamp(1.0, 8.0) as usize;
        BLOCKS.get(height - 1).copied().unwrap_or(' ')
    });
    let line: String = line.collect();
    format!("{line:>width$}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_what_a_counter_grew_in_a_second() {
        let mut rates = Rates::default();
        let begin = Instant::now();
        rates.take(begin, [("a", 1_000, 10), ("b", 5, 5)]);
        assert_eq!(rates.get(&"a").map(|rate| rate.bytes), Some(0.0));
        rates.take(begin + Duration::from_secs(2), [("a", 3_000, 14)]);
        let a = rates.get(&"a").unwrap();
        assert_eq!((a.bytes, a.packets), (1_000.0, 2.0));
        assert!(rates.get(&"b").is_none(), "it has gone");
        rates.take(begin + Duration::from_secs(3), [("a", 500, 1)]);
        assert_eq!(rates.get(&"a").map(|rate| rate.bytes), Some(0.0), "it began anew");
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut rates = Rates::default();
        let begin = Instant::now();
        for second in 0..100 {
            rates.take(begin + Duration::from_secs(second), [((), second, second)]);
        }
        assert_eq!(rates.get(&()).map(|rate| rate.history.len()), Some(REMEMBERED));
    }

    #[test]
    fn a_line_of_blocks() {
        let history = VecDeque::from([0.0, 1.0, 4.0, 8.0, 0.001]);
        assert_eq!(spark(&history, 7), "   ▁▄█▁");
        assert_eq!(spark(&history, 2), "█▁");
        assert_eq!(spark(&VecDeque::new(), 3), "   ");
    }
}
