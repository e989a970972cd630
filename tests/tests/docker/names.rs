//! Networks and containers by their names.

use bridgefwd_tests::docker::EngineOptions;
use bridgefwd_tests::needs_docker;

use crate::rig::Shop;

#[test]
fn a_container_fetches_from_another_network_by_the_names_of_both() {
    needs_docker!();
    for bridge_netfilter in [true, false] {
        let shop = Shop::running(EngineOptions { bridge_netfilter, ..EngineOptions::default() });
        assert_eq!(shop.managed(), ["bridge", "shop_db", "shop_front"]);
        let (web, db) = (shop.web(), shop.db());
        assert_eq!(shop.engine.fetch("web", db), None, "as Docker has it");
        let said = shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
        assert_eq!(said, "shop_front -> shop_db: allowed, nat masquerade\n");
        let gateway = shop.engine.inspect("shop_db")["IPAM"]["Config"][0]["Gateway"].clone();
        assert_eq!(shop.engine.fetch("web", db).as_deref(), gateway.as_str());
        // The other direction was not allowed.
        assert_eq!(shop.engine.fetch("db", web), None);
        let flows = shop.bridgefwd.json(&["flows", "--from", "shop_front", "--proto", "tcp"]);
        assert_eq!((&flows[0]["from"], &flows[0]["to"]), (&"shop_front".into(), &"shop_db".into()));
        assert_eq!((&flows[0]["client"], &flows[0]["server"]), (&"web".into(), &"db".into()));
        for command in [&["bridges"][..], &["flows"], &["status"], &["pair", "list"], &["stats"]] {
            println!("{}", shop.bridgefwd.ok(command));
        }
    }
}
