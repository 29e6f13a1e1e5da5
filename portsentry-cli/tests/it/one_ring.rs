//! A program that is built without the feature `rings`.

use portsentry_testbed::{Testbed, require_root};

use crate::station::Station;

#[test]
fn several_rings_are_a_warning_and_one_ring() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"23\"\nCAPTURE_RINGS = \"4\"\n");
    for method in ["pcap", "raw"] {
        let ended = station.start(&["-m", method]).stop();
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        let warning = "warning: using one ring instead of 4: this program was built without the \
                       feature `rings`";
        assert!(ended.stderr[0].ends_with(warning), "{method}: {ended:#?}");
    }
}
