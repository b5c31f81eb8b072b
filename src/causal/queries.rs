//! Questions to a [`Network`]: observe, intervene, imagine. Exact, by enumeration.
//!
//! A question names *worlds*: the same units under different interventions. World 0 is usually the factual one; a node
//! of a world may be set to a value, or to what it is in an earlier world (nested counterfactuals). Abduction, action and
//! prediction are one sum: over the noise that agrees with the evidence, of the worlds that it gives. For one node, the
//! noise counts only by which values it gives in each world, so that the interval [0, 1) falls into few pieces.

use super::network::{Network, NetworkError};

/// What a world sets a node to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// A value.
    To(usize),
    /// The value that the node has in an earlier world.
    AsIn(usize),
}

/// An intervention: what is set to what. Empty for the world as it is.
pub type World = Vec<(usize, Setting)>;

/// That a node has a value in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The world's place.
    pub world: usize,
    /// The node.
    pub node: usize,
    /// Its value.
    pub value: usize,
}

/// Enumerations beyond this number of states are refused.
const STATES: usize = 1 << 24;

impl Network {
    /// P(event | given) under `do(set)`; all are pairs of node and value.
    pub fn probability(
        &self,
        event: &[(usize, usize)],
        given: &[(usize, usize)],
        set: &[(usize, usize)],
    ) -> Result<f64, NetworkError> {
        let world = set.iter().map(|&(node, value)| (node, Setting::To(value))).collect();
        let events = |pairs: &[(usize, usize)]| -> Vec<Event> {
            pairs.iter().map(|&(node, value)| Event { world: 0, node, value }).collect()
        };
        self.counterfactual(&[world], &events(event), &events(given))
    }

    /// P(event | evidence) over several worlds of the same units.
    pub fn counterfactual(&self, worlds: &[World], event: &[Event], evidence: &[Event]) -> Result<f64, NetworkError> {
        let base = self.mass(worlds, evidence)?;
        if base <= 0.0 {
            return Err(NetworkError::Impossible);
        }
        let both: Vec<Event> = event.iter().chain(evidence).copied().collect();
        Ok(self.mass(worlds, &both)? / base)
    }

    /// P(all events).
    fn mass(&self, worlds: &[World], events: &[Event]) -> Result<f64, NetworkError> {
        for (index, world) in worlds.iter().enumerate() {
            for (_, setting) in world {
                if let Setting::AsIn(other) = setting
                    && *other >= index
                {
                    return Err(NetworkError::WorldOrder(index, *other));
                }
            }
        }
        // Only ancestors of what is asked matter, whatever the world.
        let asked = events.iter().map(|event| event.node).collect();
        let relevant = self.graph().ancestors(asked);
        let order: Vec<usize> = self.order().iter().copied().filter(|&node| relevant.contains(node)).collect();
        let mut states = vec![vec![0; self.graph().len()]; worlds.len()];
        let mut search = Search { network: self, worlds, events, order: &order, visited: 0 };
        search.sum(0, &mut states)
    }

    /// A predictor's mean in one world of units with given evidence: `E[f(state)]`.
    pub fn mean(
        &self,
        worlds: &[World],
        of: usize,
        evidence: &[Event],
        value: &dyn Fn(&[usize]) -> f64,
    ) -> Result<f64, NetworkError> {
        let (mut sum, mut total) = (0.0, 0.0);
        self.each_unit(worlds, evidence, &mut |states, p| {
            total += p;
            sum += p * states.get(of).map_or(0.0, |state| value(state));
        })?;
        if total > 0.0 { Ok(sum / total) } else { Err(NetworkError::Impossible) }
    }

    /// Visits all joint states of the worlds that agree with the evidence, with their probabilities.
    pub fn each_unit(
        &self,
        worlds: &[World],
        evidence: &[Event],
        visit: &mut dyn FnMut(&[Vec<usize>], f64),
    ) -> Result<(), NetworkError> {
        let mut states = vec![vec![0; self.graph().len()]; worlds.len()];
        let mut search = Search { network: self, worlds, events: evidence, order: self.order(), visited: 0 };
        search.each(0, 1.0, &mut states, visit)
    }
}

struct Search<'a> {
    network: &'a Network,
    worlds: &'a [World],
    events: &'a [Event],
    order: &'a [usize],
    visited: usize,
}

impl Search<'_> {
    fn sum(&mut self, place: usize, states: &mut Vec<Vec<usize>>) -> Result<f64, NetworkError> {
        let mut total = 0.0;
        self.each(place, 1.0, states, &mut |_, p| total += p)?;
        Ok(total)
    }

    fn each(
        &mut self,
        place: usize,
        weight: f64,
        states: &mut Vec<Vec<usize>>,
        visit: &mut dyn FnMut(&[Vec<usize>], f64),
    ) -> Result<(), NetworkError> {
        self.visited += 1;
        if self.visited > STATES {
            return Err(NetworkError::TooLarge(STATES));
        }
        let Some(&node) = self.order.get(place) else {
            visit(states, weight);
            return Ok(());
        };
        for (values, share) in self.pieces(node, states) {
            if share <= 0.0 || !self.agrees(node, &values) {
                continue;
            }
            for (state, value) in states.iter_mut().zip(&values) {
                state.iter_mut().skip(node).take(1).for_each(|slot| *slot = *value);
            }
            self.each(place + 1, weight * share, states, visit)?;
        }
        Ok(())
    }

    fn agrees(&self, node: usize, values: &[usize]) -> bool {
        let mine = self.events.iter().filter(|event| event.node == node);
        mine.into_iter().all(|event| values.get(event.world) == Some(&event.value))
    }

    /// The node's values in all worlds, by piece of its noise, with the length of the piece.
    fn pieces(&self, node: usize, states: &[Vec<usize>]) -> Vec<(Vec<usize>, f64)> {
        let setting = |world: &World| world.iter().rev().find(|(other, _)| *other == node).map(|(_, setting)| *setting);
        let free: Vec<(usize, &[f64])> = (self.worlds.iter().zip(states).enumerate())
            .filter(|(_, (world, _))| setting(world).is_none())
            .map(|(index, (_, state))| (index, self.network.row(node, state)))
            .collect();
        let mut found: Vec<(Vec<usize>, f64)> = Vec::new();
        let (mut cursor, mut at): (Vec<usize>, f64) = (vec![0; free.len()], 0.0);
        let ends: Vec<Vec<f64>> = free.iter().map(|(_, row)| cumulated(row)).collect();
        loop {
            let end = |(place, ends): (&usize, &Vec<f64>)| ends.get(*place).copied().unwrap_or(1.0);
            let next = cursor.iter().zip(&ends).map(end).fold(1.0, f64::min);
            let mut values = vec![0; self.worlds.len()];
            for ((world, _), value) in free.iter().zip(&cursor) {
                values.iter_mut().skip(*world).take(1).for_each(|slot| *slot = *value);
            }
            for (index, world) in self.worlds.iter().enumerate() {
                let value = match setting(world) {
                    Some(Setting::To(value)) => value,
                    Some(Setting::AsIn(other)) => values.get(other).copied().unwrap_or(0),
                    None => continue,
                };
                values.iter_mut().skip(index).take(1).for_each(|slot| *slot = value);
            }
            if next > at {
                found.push((values, next - at));
            }
            at = at.max(next);
            if at >= 1.0 {
                return found;
            }
            for (place, ends) in cursor.iter_mut().zip(&ends) {
                while ends.get(*place).is_some_and(|end| *end <= at) {
                    *place += 1;
                }
            }
        }
    }
}

/// Where each value's piece of [0, 1) ends; the last possible value's at 1 whatever rounding did.
fn cumulated(row: &[f64]) -> Vec<f64> {
    let last = row.iter().rposition(|&p| p > 0.0).unwrap_or(0);
    let mut sum = 0.0;
    let step = |(value, p): (usize, &f64)| {
        sum += p;
        if value >= last { 1.0 } else { sum.min(1.0) }
    };
    row.iter().enumerate().map(step).collect()
}
