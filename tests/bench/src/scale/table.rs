//! The figures as a table for the terminal.

use super::{Scale, SizeFigures};

/// A row of the table: its name, and the figure of one size.
type Row = (&'static str, fn(&SizeFigures) -> String);

const ROWS: [Row; 17] = [
    ("apply all, s", |size| format!("{:.2}", size.apply_seconds)),
    ("control plane, resident MiB", |size| mib(size.control_plane.resident_kib)),
    ("control plane, private MiB", |size| mib(size.control_plane.private_kib)),
    ("control plane, peak MiB", |size| mib(size.control_plane.peak_kib)),
    ("the same after a restart, resident MiB", |size| mib(size.control_plane_restarted.resident_kib)),
    ("restart of the control plane, ms", |size| format!("{:.0}", size.control_plane_restart_ms)),
    ("sidecar, resident MiB", |size| mib(size.sidecar.resident_kib)),
    ("sidecar, private MiB", |size| mib(size.sidecar.private_kib)),
    ("sidecar, peak MiB", |size| mib(size.sidecar.peak_kib)),
    ("sidecar, start to ready, ms", |size| format!("{:.0}", size.sidecar_start_ms)),
    ("used endpoint changes: answered, ms", |size| format!("{:.1}", size.used.answered_ms)),
    ("used endpoint changes: at the sidecar, ms", |size| optional(size.used.visible_ms, |ms| format!("{ms:.1}"))),
    ("used endpoint changes: sidecar receives, bytes", |size| size.used.received_bytes.to_string()),
    ("used endpoint changes: sidecar sends, bytes", |size| size.used.sent_bytes.to_string()),
    ("other endpoint changes: answered, ms", |size| optional(size.unused, |push| format!("{:.1}", push.answered_ms))),
    ("other endpoint changes: sidecar receives, bytes", |size| {
        optional(size.unused, |push| push.received_bytes.to_string())
    }),
    ("other endpoint changes: sidecar sends, bytes", |size| optional(size.unused, |push| push.sent_bytes.to_string())),
];

pub fn table(scale: &Scale) -> String {
    let mut text = line("services", scale, |size| size.services.to_string());
    for (name, figure) in ROWS {
        text += &line(name, scale, figure);
    }
    text
}

fn line(name: &str, scale: &Scale, figure: fn(&SizeFigures) -> String) -> String {
    let figures: String = scale.sizes.iter().map(|size| format!("{:>10}", figure(size))).collect();
    format!("{name:<48}{figures}\n")
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

fn optional<T>(figure: Option<T>, format: fn(T) -> String) -> String {
    figure.map_or_else(|| "-".to_owned(), format)
}
