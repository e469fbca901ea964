//! What a plan comes to, for the person who is to agree to it, and for programs.

use serde::Serialize;

use super::{
    names,
    plan::{LeftOut, Member, Plan},
};
use crate::{
    exit::count,
    output::{Cell, DIM, GOOD, Table, WARN},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary<'a> {
    project: &'a str,
    file: &'a str,
    image: &'a str,
    services: Vec<Service<'a>>,
    /// Whether plain text is accepted everywhere, since some that are left out may call.
    open: bool,
    left_out: &'a [LeftOut],
    /// Those without a sidecar whose links change, since the networks that they lead to have moved.
    relinked: Vec<&'a str>,
    /// Where nobody wants the file itself: what would be in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    service: &'a str,
    mesh_name: &'a str,
    ports: &'a [u16],
    /// Ports on which plain text is accepted: those that the host publishes, or all while a caller has no sidecar.
    permissive: &'a [u16],
    adds: [String; 2],
    notes: &'a [String],
}

pub fn of<'a>(plan: &'a Plan, file: &'a str, image: &'a str, text: Option<&'a str>) -> Summary<'a> {
    let service = |member: &'a Member| Service {
        service: &member.service,
        mesh_name: &member.mesh,
        ports: &member.ports,
        permissive: if plan.open() { &member.ports } else { &member.published },
        adds: names::added(&member.service),
        notes: &member.notes,
    };
    let services = plan.members.iter().map(service).collect();
    let relinked = plan.relinked.iter().map(|(service, _)| service.as_str()).collect();
    Summary {
        project: &plan.project,
        file,
        image,
        services,
        open: plan.open(),
        left_out: &plan.left_out,
        relinked,
        text,
    }
}

pub fn table(summary: &Summary<'_>) -> Table {
    let mut table = Table::new(&["SERVICE", "NAME IN THE MESH", "PORTS", "PLAIN TEXT ON", "ADDED"], "");
    for service in &summary.services {
        table.row([
            Cell::styled(service.service, GOOD),
            service.mesh_name.into(),
            match service.ports {
                [] => Cell::styled("only calls", DIM),
                some => ports(some).into(),
            },
            match service.permissive {
                [] => Cell::styled("-", DIM),
                _ if summary.open => Cell::styled("all", WARN),
                some => Cell::styled(format!("{} (published)", ports(some)), WARN),
            },
            service.adds.join(", ").into(),
        ]);
    }
    for left in summary.left_out {
        let reason = Cell::styled(format!("left out: {}", left.reason), DIM);
        table.row([
            left.service.as_str().into(),
            Cell::styled("-", DIM),
            Cell::styled("-", DIM),
            Cell::styled("-", DIM),
            reason,
        ]);
    }
    let added = [names::CONTROL_PLANE, names::JOIN].join(", ");
    table.line(format!("Added once: {added}. All of it from the image {}.", summary.image));
    for service in &summary.relinked {
        table.line(format!("Note: {service}: its links change: they lead to the networks of services now."));
    }
    for service in &summary.services {
        service.notes.iter().for_each(|note| table.line(format!("Note: {}: {note}", service.service)));
    }
    if summary.open {
        table.line("Note: plain text is accepted on all ports, for what is left out may call in it. See the rules in the file.");
    }
    let sidecars = count(summary.services.len(), "sidecar");
    table.line(format!("{sidecars}, {} left out.", count(summary.left_out.len(), "service")));
    table
}

fn ports(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
