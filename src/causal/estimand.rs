//! Estimands: what has to be computed from which distribution.
//!
//! A tree of conditional probabilities, sums, products and quotients over the nodes of a graph. A variable that no sum
//! binds is free: it stands for the value of the query (`x`, `y`, `z` of P(y | do(x), z)) or, where it is none of
//! these, for any value at all, the estimand being constant in it.

use super::node_set::NodeSet;

/// Where a probability comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Regime {
    /// The domain: 0 is the one that the question is about.
    pub domain: usize,
    /// The variables that were set by experiment; empty for observational data.
    pub set: NodeSet,
}

/// Which of two values of one variable a factor is read at, for effects that compare two worlds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The value of the baseline world.
    Baseline,
    /// The value that paths under study see.
    Active,
}

/// An expression in probabilities.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Estimand {
    /// P(of | given), in its regime.
    Probability {
        /// The variables whose probability it is.
        of: NodeSet,
        /// The variables that are conditioned on.
        given: NodeSet,
        /// Which distribution.
        regime: Regime,
    },
    /// The sum over all values of the variables.
    Sum {
        /// The variables that it binds.
        over: NodeSet,
        /// What is summed.
        of: Box<Estimand>,
    },
    /// The product; 1 where it is empty.
    Product(Vec<Estimand>),
    /// Numerator over denominator.
    Quotient(Box<Estimand>, Box<Estimand>),
    /// The inner expression with one variable at one of its two values.
    At {
        /// The variable.
        variable: usize,
        /// Which value.
        level: Level,
        /// What is read there.
        of: Box<Estimand>,
    },
}

impl Estimand {
    /// The number 1.
    pub fn one() -> Self {
        Self::Product(Vec::new())
    }

    /// P(of | given) in a regime.
    pub fn probability(of: NodeSet, given: NodeSet, regime: Regime) -> Self {
        match of.is_empty() {
            true => Self::one(),
            false => Self::Probability { of, given, regime },
        }
    }

    /// A product, flattened.
    pub fn product(factors: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for factor in factors {
            match factor {
                Self::Product(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        cancel(&mut flat);
        match flat.len() {
            1 => flat.pop().unwrap_or_else(Self::one),
            _ => Self::Product(flat),
        }
    }

    /// Σ over `over`, where a variable that is the subject of one factor and occurs in no other is summed out at once.
    pub fn sum(over: NodeSet, body: Self) -> Self {
        let mut factors = match body {
            Self::Sum { over: inner, of } if inner.is_disjoint(over) => return Self::sum(over | inner, *of),
            Self::Product(factors) => factors,
            other => vec![other],
        };
        let mut left = over;
        loop {
            let Some((place, variable)) = lone_subject(&factors, left) else {
                if chain(&mut factors, left) || push_in(&mut factors, &mut left) {
                    continue;
                }
                break;
            };
            left.remove(variable);
            if let Some(Self::Probability { of, given, regime }) = factors.get(place) {
                let smaller = Self::probability(of.without(variable), *given, *regime);
                factors.remove(place);
                if smaller != Self::one() {
                    factors.insert(place, smaller);
                }
            }
        }
        if left.is_empty() {
            return Self::product(factors);
        }
        // Factors that the sum does not touch stand before it.
        let (inner, mut outer): (Vec<Self>, Vec<Self>) =
            factors.into_iter().partition(|factor| !factor.free().is_disjoint(left));
        let inner = match Self::product(inner) {
            Self::Sum { over, of } if over.is_disjoint(left) => Self::sum(over | left, *of),
            other => Self::Sum { over: left, of: Box::new(other) },
        };
        outer.push(inner);
        Self::product(outer)
    }

    /// A quotient with equal factors cancelled, and P(a, b | c) / P(b | c) read as P(a | b, c).
    pub fn quotient(numerator: Self, denominator: Self) -> Self {
        let list = |expression| match expression {
            Self::Product(factors) => factors,
            other => vec![other],
        };
        let (mut top, mut bottom) = (list(numerator), list(denominator));
        bottom.retain(|factor| match top.iter().position(|other| other == factor) {
            Some(place) => {
                top.remove(place);
                false
            }
            None => true,
        });
        match (Self::product(top), Self::product(bottom)) {
            (top, bottom) if bottom == Self::one() => top,
            (Self::Probability { of, given, regime }, Self::Probability { of: lower, given: same, regime: other })
                if given == same && regime == other && lower.is_subset(of) =>
            {
                Self::probability(of - lower, given | lower, regime)
            }
            (top, bottom) => Self::Quotient(Box::new(top), Box::new(bottom)),
        }
    }

    /// The variables that no sum binds. Variables that an experiment sets count, as they have values too.
    pub fn free(&self) -> NodeSet {
        match self {
            Self::Probability { of, given, regime } => *of | *given | regime.set,
            Self::Sum { over, of } => of.free() - *over,
            Self::Product(factors) => factors.iter().fold(NodeSet::EMPTY, |all, factor| all | factor.free()),
            Self::Quotient(top, bottom) => top.free() | bottom.free(),
            Self::At { variable, of, .. } => of.free().without(*variable),
        }
    }

    /// All conditional probabilities in it, each once, in reading order.
    pub fn probabilities(&self) -> Vec<(NodeSet, NodeSet, Regime)> {
        let mut found = Vec::new();
        self.visit(&mut |of, given, regime| {
            if !found.contains(&(of, given, regime)) {
                found.push((of, given, regime));
            }
        });
        found
    }

    fn visit(&self, seen: &mut impl FnMut(NodeSet, NodeSet, Regime)) {
        match self {
            Self::Probability { of, given, regime } => seen(*of, *given, *regime),
            Self::Sum { of, .. } | Self::At { of, .. } => of.visit(seen),
            Self::Product(factors) => factors.iter().for_each(|factor| factor.visit(seen)),
            Self::Quotient(top, bottom) => [top, bottom].into_iter().for_each(|side| side.visit(seen)),
        }
    }
}

/// Takes a factor away together with a quotient's equal denominator.
fn cancel(factors: &mut Vec<Estimand>) {
    while let Some((place, other, top)) = factors.iter().enumerate().find_map(|(place, factor)| match factor {
        Estimand::Quotient(top, bottom) => {
            let other = factors.iter().position(|factor| factor == bottom.as_ref())?;
            Some((place, other, top.as_ref().clone()))
        }
        _ => None,
    }) {
        let top = match top {
            Estimand::Product(inner) => inner,
            single => vec![single],
        };
        factors.splice(place..=place, top.iter().cloned());
        factors.remove(if other < place { other } else { other + top.len() - 1 });
    }
}

/// Sums variables inside the one compound factor that holds them; whether there was one.
fn push_in(factors: &mut [Estimand], over: &mut NodeSet) -> bool {
    let frees: Vec<NodeSet> = factors.iter().map(Estimand::free).collect();
    for (place, factor) in factors.iter_mut().enumerate() {
        let elsewhere = frees.iter().enumerate().filter(|(other, _)| *other != place);
        let elsewhere = elsewhere.fold(NodeSet::EMPTY, |all, (_, free)| all | *free);
        let own = (*over & factor.free()) - elsewhere;
        let summed = match factor {
            _ if own.is_empty() => continue,
            Estimand::Sum { over: bound, .. } if bound.is_disjoint(own) => Estimand::sum(own, factor.clone()),
            Estimand::Quotient(top, bottom) if bottom.free().is_disjoint(own) => {
                Estimand::quotient(Estimand::sum(own, top.as_ref().clone()), bottom.as_ref().clone())
            }
            _ => continue,
        };
        *factor = summed;
        *over = *over - own;
        return true;
    }
    false
}

/// Joins P(a | c) P(b | a, c) to P(a, b | c) where a sum over one of a then finds it in no other factor; whether it did.
fn chain(factors: &mut Vec<Estimand>, over: NodeSet) -> bool {
    for variable in over.iter() {
        let holding = |factor: &&Estimand| factor.free().contains(variable);
        let pair: Vec<Estimand> = factors.iter().filter(holding).cloned().collect();
        let [one, other] = pair.as_slice() else { continue };
        for (first, second) in [(one, other), (other, one)] {
            if let (
                Estimand::Probability { of, given, regime },
                Estimand::Probability { of: next, given: both, regime: same },
            ) = (first, second)
                && *both == *of | *given
                && regime == same
                && of.contains(variable)
            {
                let joined = Estimand::probability(*of | *next, *given, *regime);
                factors.retain(|factor| factor != first && factor != second);
                factors.push(joined);
                return true;
            }
        }
    }
    false
}

/// A variable of `over` that is the subject of one conditional probability and free in no other factor.
fn lone_subject(factors: &[Estimand], over: NodeSet) -> Option<(usize, usize)> {
    over.iter().find_map(|variable| {
        let mut places = factors.iter().enumerate().filter(|(_, factor)| factor.free().contains(variable));
        match (places.next(), places.next()) {
            (Some((place, Estimand::Probability { of, .. })), None) if of.contains(variable) => Some((place, variable)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(of: &[usize], given: &[usize]) -> Estimand {
        let set = |nodes: &[usize]| nodes.iter().copied().collect();
        Estimand::probability(set(of), set(given), Regime::default())
    }

    #[test]
    fn sums_of_a_conditional_over_its_subject_are_one() {
        let chain = Estimand::product([p(&[0], &[]), p(&[1], &[0]), p(&[2], &[0, 1])]);
        assert_eq!(
            Estimand::sum([2].into_iter().collect(), chain.clone()),
            Estimand::product([p(&[0], &[]), p(&[1], &[0])])
        );
        assert_eq!(Estimand::sum([1, 2].into_iter().collect(), chain.clone()), p(&[0], &[]));
        let Estimand::Sum { over, .. } = Estimand::sum([0].into_iter().collect(), chain) else { panic!("a sum stays") };
        assert_eq!(over, NodeSet::one(0));
    }

    #[test]
    fn factors_that_a_sum_does_not_touch_stand_before_it() {
        let body = Estimand::product([p(&[0], &[3]), p(&[1], &[]), p(&[2], &[1, 3])]);
        let summed = Estimand::sum(NodeSet::one(1), body);
        let Estimand::Product(factors) = &summed else { panic!("{summed:?}") };
        assert_eq!(factors.first(), Some(&p(&[0], &[3])));
        assert_eq!(summed.free(), [0, 2, 3].into_iter().collect());
    }

    #[test]
    fn a_chain_is_joined_and_a_sum_pushed_into_the_factor_that_holds_it() {
        let set = |nodes: &[usize]| nodes.iter().copied().collect::<NodeSet>();
        assert_eq!(Estimand::sum(set(&[1]), Estimand::product([p(&[1], &[0]), p(&[2], &[0, 1])])), p(&[2], &[0]));
        let inner = Estimand::sum(set(&[3]), Estimand::product([p(&[3], &[]), p(&[2], &[1, 3])]));
        let body = Estimand::product([p(&[1], &[]), inner]);
        assert_eq!(Estimand::sum(set(&[1, 2]), body), Estimand::one());
    }

    #[test]
    fn quotients_cancel() {
        let top = Estimand::product([p(&[0], &[]), p(&[1, 2], &[3])]);
        assert_eq!(Estimand::quotient(top.clone(), p(&[0], &[])), p(&[1, 2], &[3]));
        assert_eq!(Estimand::quotient(p(&[1, 2], &[3]), p(&[2], &[3])), p(&[1], &[2, 3]));
        assert_eq!(Estimand::quotient(top.clone(), top.clone()), Estimand::one());
        // A quotient meets its denominator in a product, on either side of it.
        let ratio = Estimand::Quotient(Box::new(top), Box::new(p(&[4], &[])));
        let expected = Estimand::product([p(&[5], &[]), p(&[0], &[]), p(&[1, 2], &[3])]);
        assert_eq!(Estimand::product([p(&[5], &[]), ratio.clone(), p(&[4], &[])]), expected);
        assert_eq!(Estimand::product([p(&[4], &[]), p(&[5], &[]), ratio]), expected);
    }
}
