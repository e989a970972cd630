//! The machine on which it was measured, as far as it says what it is.

use std::fs;

use serde::Serialize;

/// What one has to know about a machine to compare its figures with others.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As `/proc/cpuinfo` has it.
    pub cpu: String,
    /// How many there are.
    pub cpus: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// What decides about the clock frequency, or `unknown`: a virtual machine mostly has none to see.
    pub governor: String,
    /// Is it a virtual machine?
    pub virtual_machine: bool,
    /// Load averages of 1, 5 and 15 minutes before the measurement.
    pub load: String,
    /// Is the kernel's compiler for BPF on?
    pub jit: String,
}

impl Machine {
    /// This one, now.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let load = read("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: field("model name").unwrap_or_else(|| "unknown".into()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .unwrap_or_else(|| "unknown".into()),
            virtual_machine: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            jit: read("/proc/sys/net/core/bpf_jit_enable").unwrap_or_else(|| "unknown".into()),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        format!(
            "{}, {} CPUs{}, Linux {}, frequency governor {}, load {}, bpf_jit_enable {}",
            self.cpu,
            self.cpus,
            if self.virtual_machine { " of a virtual machine" } else { "" },
            self.kernel,
            self.governor,
            self.load,
            self.jit,
        )
    }
}
