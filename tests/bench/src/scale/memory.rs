//! What a process keeps in memory, as the kernel counts it.

use anyhow::Context;
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All of its resident pages, the program's code included.
    pub resident_kib: u64,
    /// Those that no other process shares: what one more of it costs.
    pub private_kib: u64,
    /// The most that was ever resident.
    pub peak_kib: u64,
}

impl Memory {
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        Ok(Self {
            resident_kib: kib(&status, "VmRSS:")?,
            private_kib: kib(&rollup, "Private_Clean:")? + kib(&rollup, "Private_Dirty:")?,
            peak_kib: kib(&status, "VmHWM:")?,
        })
    }
}

fn kib(text: &str, field: &str) -> anyhow::Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
    value.with_context(|| format!("the kernel does not tell {field}"))?.parse().with_context(|| field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_of_its_own() {
        let memory = Memory::of(std::process::id()).expect("procfs");
        assert!(memory.private_kib > 0 && memory.private_kib <= memory.resident_kib);
        assert!(memory.resident_kib <= memory.peak_kib);
    }
}
