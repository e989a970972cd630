//! A systemd unit, as far as it has to be known to start what it starts without systemd.

/// A unit file.
#[derive(Debug)]
pub struct Unit(String);

impl Unit {
    /// Its text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The value of a setting that is there once.
    #[must_use]
    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        let values: Vec<_> =
            self.0.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
        let [value] = values[..] else { panic!("{key} is there {} times, not once", values.len()) };
        value
    }

    /// The words of a setting.
    #[must_use]
    #[track_caller]
    pub fn words(&self, key: &str) -> Vec<&str> {
        self.get(key).split_whitespace().collect()
    }

    /// The capabilities of the bounding set, as setpriv(1) takes them.
    #[must_use]
    #[track_caller]
    pub fn capabilities(&self) -> String {
        let names = self.words("CapabilityBoundingSet").into_iter();
        let names =
            names.map(|name| format!("+{}", name.strip_prefix("CAP_").expect(name).to_lowercase()));
        names.collect::<Vec<_>>().join(",")
    }
}
