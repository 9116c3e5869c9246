//! What each placement answers, and what may be shown.

use millrace_intelligence::recommend::{
    Action, Boost, Click, Kind, Placement, Question, Reason, Recommender, Settings, StockChange,
};

use crate::support::{act, after, ask, click, items, recommender, seconds, sessions};

const SHOP: &str = "
tea/green cup/blue spoon/small
tea/green cup/blue
tea/green cup/red
bike/road pump/hand
bike/road pump/hand lock/big
tea/black cup/blue
";

fn shop() -> Recommender {
    let mut shop = recommender();
    sessions(&mut shop, SHOP);
    shop
}

/// A shop whose `next` is set up otherwise.
fn shop_with(set: impl FnOnce(&mut Placement)) -> Recommender {
    let mut shop = shop();
    let mut settings = shop.settings().clone();
    settings.placements.entry("next".into()).and_modify(set);
    shop.set(settings).expect("good settings");
    shop
}

fn question(placement: &str) -> Question<'_> {
    Question { placement, ..Question::default() }
}

#[test]
fn a_click_counts_in_the_next_answer() {
    let mut shop = shop();
    assert_eq!(
        items(&shop, Question { session: Some("visit"), count: 1, ..question("next") }).len(),
        1,
        "demand, when nothing is known"
    );
    click(&mut shop, "visit", "bike/road", 1_000);
    let answer = ask(&shop, Question { session: Some("visit"), count: 1, ..question("next") });
    assert_eq!((answer.items[0].item.as_str(), answer.items[0].reason), ("pump/hand", Reason::Sessions));
    click(&mut shop, "someone", "bike/road", 1_001);
    (1_002..1_010).for_each(|at| click(&mut shop, &format!("s{at}"), "bike/road", at));
    (1_002..1_010).for_each(|at| click(&mut shop, &format!("s{at}"), "helmet/new", at));
    let found = items(&shop, Question { session: Some("visit"), count: 1, ..question("next") });
    assert_eq!(found, ["helmet/new"], "an item nobody had seen a minute ago");
}

#[test]
fn the_product_being_looked_at_counts_before_its_click_comes() {
    let shop = shop();
    let question = Question { session: Some("visit"), product: Some("bike/road"), count: 1, ..question("next") };
    assert_eq!(items(&shop, question), ["pump/hand"]);
}

#[test]
fn evidence_tells_the_items_that_speak_for_it() {
    let shop = shop();
    let answer = ask(&shop, Question { evidence: true, ..after(&["tea/green"]) });
    assert_eq!(answer.items[0].item, "cup/blue");
    let evidence = &answer.items[0].evidence[0];
    assert_eq!((evidence.item.as_str(), evidence.together, evidence.followed), ("tea/green", 2, 2.0));
    let trend = answer.items.iter().find(|item| item.reason == Reason::StoreTrend).expect("filled up");
    assert!(trend.evidence.is_empty());
}

#[test]
fn what_has_no_stock_leaves_at_once_and_comes_back() {
    let mut shop = shop();
    let first = |shop: &Recommender| items(shop, Question { count: 1, ..after(&["tea/green"]) });
    let change = |on_hand_change| StockChange { item: "cup/blue", on_hand_change, ..StockChange::default() };
    shop.stock(&change(1));
    assert_eq!(first(&shop), ["cup/blue"]);
    shop.stock(&StockChange { reserved_change: 1, ..change(0) });
    for placement in ["next", "similar", "trending", "visitor"] {
        let question = Question { product: Some("tea/green"), visitor: Some("v"), ..question(placement) };
        assert!(!items(&shop, question).contains(&"cup/blue".to_owned()), "{placement}");
    }
    shop.stock(&change(5));
    assert_eq!(first(&shop), ["cup/blue"]);
}

#[test]
fn what_the_visitor_bought_is_not_shown_to_them_again() {
    let mut shop = shop();
    shop.order(None, Some("ann"), &[("cup/blue", None)], seconds(1_000));
    let of = |visitor| items(&shop, Question { visitor: Some(visitor), ..after(&["tea/green"]) });
    assert!(!of("ann").contains(&"cup/blue".to_owned()));
    assert_eq!(of("bob")[0], "cup/blue");
}

#[test]
fn blocked_items_and_categories_are_never_shown() {
    let shop = shop_with(|next| {
        next.blocked = vec!["cup/blue".into()];
        next.blocked_categories = vec!["bike".into()];
        next.pins = vec!["cup/blue".into(), "lock/big".into()];
    });
    let found = items(&shop, after(&["tea/green"]));
    assert!(found.iter().all(|item| item != "cup/blue" && !item.starts_with("bike/")), "{found:?}");
    assert_eq!(found[0], "lock/big", "a pin comes first, a blocked one does not");
    assert_eq!(found[1], "cup/red");
}

#[test]
fn boosts_lift_lower_and_leave_out() {
    let boost = |product: Option<&str>, category: Option<&str>, factor| Boost {
        product: product.map(str::to_owned),
        category: category.map(str::to_owned),
        factor,
    };
    for (boosts, first) in [
        (vec![], "cup/blue"),
        (vec![boost(Some("cup/red"), None, 50.0)], "cup/red"),
        (vec![boost(None, Some("spoon"), 50.0)], "spoon/small"),
        (vec![boost(Some("cup/blue"), None, 0.0)], "cup/red"),
        (vec![boost(Some("no such item"), None, 50.0)], "cup/blue"),
    ] {
        let shop = shop_with(|next| next.boosts = boosts.clone());
        assert_eq!(items(&shop, Question { count: 1, ..after(&["tea/green"]) }), [first], "{boosts:?}");
    }
}

#[test]
fn variety_puts_the_third_cup_behind_the_spoon() {
    let count_first = |shop: &Recommender| items(shop, Question { count: 2, ..after(&["tea/green"]) });
    assert_eq!(count_first(&shop()), ["cup/blue", "cup/red"]);
    assert_eq!(count_first(&shop_with(|next| next.category_max = 1)), ["cup/blue", "spoon/small"]);
}

#[test]
fn repeats_and_the_current_item_are_shown_where_they_may() {
    let mut shop = shop();
    // Visitors of this shop go back and forth.
    for session in 0..30 {
        for (at, item) in ["tea/green", "cup/blue", "tea/green"].into_iter().enumerate() {
            click(&mut shop, &format!("r{session}"), item, 1_000 + session * 10 + at as i64);
        }
    }
    let of = |shop: &Recommender| items(shop, Question { count: 50, ..after(&["tea/green", "cup/blue"]) });
    let found = of(&shop);
    assert!(found[0] == "tea/green" && !found.contains(&"cup/blue".to_owned()), "{found:?}");
    let set = |current_allowed, repeats_allowed| {
        let mut other = shop.clone();
        let mut settings = other.settings().clone();
        let next = settings.placements.entry("next".into()).or_default();
        (next.current_allowed, next.repeats_allowed) = (current_allowed, repeats_allowed);
        other.set(settings).expect("good settings");
        of(&other)
    };
    assert!(set(true, true).contains(&"cup/blue".to_owned()));
    assert!(!set(false, false).contains(&"tea/green".to_owned()));
}

#[test]
fn similar_needs_a_product_and_does_not_answer_it() {
    let shop = shop();
    let found = items(&shop, Question { product: Some("pump/hand"), count: 2, ..question("similar") });
    assert_eq!(found, ["bike/road", "lock/big"]);
    let space = &mut Default::default();
    let error = shop.recommend(space, &question("similar")).expect_err("no product").to_string();
    assert_eq!(error, "placement `similar` needs a product");
    let error = shop.recommend(space, &question("somewhere")).expect_err("no such").to_string();
    assert!(
        error.starts_with("no placement is called `somewhere`; there are bought_together, cart_reminder"),
        "{error}"
    );
}

#[test]
fn bought_together_counts_orders_not_clicks() {
    let mut shop = shop();
    for at in 0..3 {
        shop.order(None, None, &[("tea/green", None), ("sugar/cane", None)], seconds(1_000 + at));
    }
    shop.order(None, None, &[("tea/green", None), ("milk/oat", None)], seconds(1_010));
    let answer =
        ask(&shop, Question { product: Some("tea/green"), count: 3, evidence: true, ..question("bought_together") });
    let found: Vec<_> = answer.items.iter().map(|item| (item.item.as_str(), item.reason)).collect();
    assert_eq!(found[..2], [("sugar/cane", Reason::Orders), ("milk/oat", Reason::Orders)]);
    assert_eq!(answer.items[0].evidence[0].together, 3);
    // Without a product it is about what lies in the cart.
    act(&mut shop, "ann", "sugar/cane", Action::Cart, 1_100);
    let found = items(&shop, Question { visitor: Some("ann"), count: 1, ..question("bought_together") });
    assert_eq!(found, ["tea/green"]);
}

#[test]
fn trending_is_of_the_products_category_then_of_the_store() {
    let mut shop = shop();
    (0..9).for_each(|at| click(&mut shop, &format!("t{at}"), "lock/small", 1_000 + at));
    let answer = ask(&shop, Question { product: Some("lock/big"), count: 2, ..question("trending") });
    let found: Vec<_> = answer.items.iter().map(|item| (item.item.as_str(), item.reason)).collect();
    assert_eq!(found[0], ("lock/small", Reason::CategoryTrend));
    assert_eq!(found[1].1, Reason::StoreTrend);
    assert_eq!(items(&shop, Question { count: 1, ..question("trending") }), ["lock/small"]);
}

#[test]
fn the_cart_is_reminded_of_until_it_is_bought_or_emptied() {
    let mut shop = shop();
    for (at, item) in ["cup/red", "bike/road", "pump/hand"].into_iter().enumerate() {
        act(&mut shop, "ann", item, Action::Cart, 1_000 + at as i64);
    }
    let cart = |shop: &Recommender| items(shop, Question { visitor: Some("ann"), ..question("cart_reminder") });
    assert_eq!(cart(&shop), ["pump/hand", "bike/road", "cup/red"], "the newest first");
    shop.removed_from_cart("ann", "pump/hand");
    shop.stock(&StockChange { item: "cup/red", on_hand_change: 0, ..StockChange::default() });
    assert_eq!(cart(&shop), ["bike/road"], "what cannot be sold is no reminder");
    shop.order(None, Some("ann"), &[("bike/road", None)], seconds(1_010));
    assert!(cart(&shop).is_empty());
}

#[test]
fn a_visitor_is_known_beyond_the_session() {
    let mut shop = shop();
    shop.click(&Click {
        session: "monday",
        visitor: Some("ann"),
        item: "bike/road",
        category: Some("bike"),
        action: Action::View,
        time: seconds(1_000),
    });
    assert_eq!(items(&shop, Question { visitor: Some("ann"), count: 1, ..question("visitor") }), ["pump/hand"]);
}

#[test]
fn wrong_settings_say_which() {
    let wrong = |set: &dyn Fn(&mut Settings), told: &str| {
        let mut settings = Settings::default();
        set(&mut settings);
        let error = Recommender::new(settings).expect_err(told).to_string();
        assert!(error.contains(told), "{error}");
    };
    wrong(&|settings| settings.next.age_days = 0.0, "next.age_days");
    wrong(&|settings| settings.index.sessions_max = 0, "index.sessions_max");
    wrong(&|settings| settings.next.rules_share = f32::NAN, "next.rules_share");
    let boosts = vec![Boost { factor: -1.0, ..Boost::default() }];
    let placement = Placement { kind: Kind::Next, boosts, ..Placement::default() };
    let set = |settings: &mut Settings| settings.placements.extend([("shelf".to_owned(), placement.clone())]);
    wrong(&set, "placements.shelf.boosts");
}
