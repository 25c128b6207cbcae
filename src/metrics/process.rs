//! What the system knows of this process, under the names that every Prometheus library uses. Where there is no `/proc` only the start is told.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::add;
use crate::clock;

/// The metrics of the process.
pub struct Process {
    processor: Counter<f64, AtomicU64>,
    memory: Gauge,
    files: Gauge,
    most_files: Gauge,
    threads: Gauge,
}

impl Process {
    pub(super) fn new(r: &mut Registry) -> Self {
        let start = clock::now().timestamp_millis() as f64 / 1000.0;
        add(r, "process_start_time_seconds", "When the server started, in seconds since 1970", Gauge::<f64, AtomicU64>::default())
            .set(start);
        Self {
            processor: add(r, "process_cpu_seconds", "Processor time, of the user and the system", Counter::default()),
            memory: add(r, "process_resident_memory_bytes", "Memory that is in use", Gauge::default()),
            files: add(r, "process_open_fds", "Open files and connections", Gauge::default()),
            most_files: add(r, "process_max_fds", "How many may be open", Gauge::default()),
            threads: add(r, "process_threads", "Threads", Gauge::default()),
        }
    }

    /// Asks the system.
    #[cfg(target_os = "linux")]
    pub(super) fn look(&self) {
        use std::sync::atomic::Ordering;

        let Ok(own) = procfs::process::Process::myself() else { return };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if let Ok(stat) = own.stat() {
            let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            self.processor.inner().store(seconds.to_bits(), Ordering::Relaxed);
            self.memory.set(count(stat.rss.saturating_mul(procfs::page_size())));
            self.threads.set(stat.num_threads);
        }
        if let Ok(files) = own.fd_count() {
            self.files.set(count(files as u64));
        }
        if let Ok(limits) = own.limits()
            && let procfs::process::LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            self.most_files.set(count(most));
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn look(&self) {}
}
