//! Fragments of a datagram that never completes.

use portsentry_capture::{CaptureOptions, FragmentLimits, Selection, SensorSet};
use portsentry_testbed::{Testbed, require_root};

use crate::frames::{TCP, ethernet, ipv4, sealed, tcp, with};
use crate::sensor::inject;
use crate::watch::{Method, targets, watch_until, with_each_method};

with_each_method! {
    a_first_fragment_is_observed_when_it_expires,
}

/// No other packet arrives meanwhile.
fn a_first_fragment_is_observed_when_it_expires(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    bed.host.ip(&["link", "set", bed.host.interface(), "address", "02:00:00:00:00:01"]);
    let selection = Selection::parse(&[bed.host.interface()]).expect("selection");
    let backend = method.backend(CaptureOptions::default());
    let mut set = bed.host.enter(|| SensorSet::builder(selection, backend).open()).expect("set");
    set.set_fragment_limits(FragmentLimits::default().with_lifetimes(1, 1));

    let fragment = with(&ipv4(TCP, &[tcp(2), vec![0; 4]].concat()), 6, &[0x20, 0]);
    let addresses = [bed.scanner.v4().octets(), bed.host.v4().octets()].concat();
    let frame = ethernet(0x0800, &sealed(with(&fragment, 12, &addresses)));
    inject(&bed.scanner, &[frame]);
    let seen = bed.host.enter(|| watch_until(&mut set, |seen| !seen.is_empty()));
    assert_eq!(targets(&seen), [(bed.host.v4().into(), 23)]);
}
