//! Refunds: judged by how many an account had, and what part of its payments they give back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::entity::{DAY, Touch};
use super::super::event::{Origin, Transaction, named};
use super::super::judgement::{Decision, Judged, Judgement, Reason};
use super::super::memory::Kind;
use super::super::payment::Payment;
use super::{Judge, logistic};

impl Judge {
    /// Refunds are judged by how many there are, what part of the account's payments they give back, and whether the goods are
    /// said to be lost. The model has no part in it, and nothing is refused.
    pub(super) fn refund(&mut self, transaction: &Transaction, time: i64, origin: Origin<'_>) -> Judgement {
        let payment = Payment::of(transaction, time);
        let name = named(&transaction.refund_id).unwrap_or(&transaction.event_id);
        let own = self.attempt(transaction, name, time, origin);
        self.memory.add_refund(&payment, self.next_number - 1, &self.settings.limits);
        let account = self.memory.entity(Kind::Account, payment.ids[Kind::Account as usize]);
        let week = |touch: &&Touch| touch.time > time - 7 * DAY && touch.time <= time;
        let refunds: Vec<&Touch> = account.iter().flat_map(|account| account.refunds.iter()).filter(week).collect();
        let paid = account.iter().flat_map(|account| account.touches.iter()).filter(week);
        let paid: f32 = paid.filter(|touch| !touch.declined).map(|touch| touch.amount).sum();
        let share = refunds.iter().map(|touch| touch.amount).sum::<f32>() / paid.max(0.01);
        let lost = matches!(transaction.reason.as_deref(), Some("never_arrived" | "not_received" | "lost"));
        let points = match (refunds.len(), share >= 0.5) {
            (0 | 1, _) | (2, false) => 0.0,
            (2, true) => 3.0 + 4.5 * f32::from(u8::from(lost)),
            (_, false) => 3.0 + 3.0 * f32::from(u8::from(lost)),
            (_, true) => 8.0 + 1.0 * f32::from(u8::from(lost)),
        };
        let score = logistic(self.settings.base_points + points);
        let listed = self.lists.of(&payment);
        let decision = listed.decide(self.decide(score)).min(Decision::Review);
        let values = BTreeMap::from([("account_refunds_7d", refunds.len() as f32), ("refunded_share_7d", share)]);
        let reason = Reason { kind: "rule", name: Arc::from("refund_abuse"), points, values, text: None };
        let evidence = match decision {
            Decision::Approve => Vec::new(),
            _ => {
                let earlier = refunds.iter().rev().filter_map(|touch| self.found(touch.number));
                let earlier = earlier.filter(|found| found.event_id != own.event_id);
                std::iter::once(own.clone()).chain(earlier).collect()
            }
        };
        let reasons: Vec<Reason> = listed.reasons().chain((points > 0.0).then_some(reason)).collect();
        let labels = self.labels;
        Judgement { kind: Judged::Refund, time, score, learnt: 0.0, decision, reasons, evidence, labels }
    }
}
