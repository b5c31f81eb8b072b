//! Porter's stemmer (Porter 1980) with NLTK's departures from it, as rouge_score stems: a table of irregular forms, `-ies` and `-ied` of four letters
//! to `-ie`, `y` to `i` behind a consonant, `-alli` before all else of step 2, `-bli`, `-fulli` and `-logi`, and short stems such as `at` in *o.

const IRREGULAR: [(&str, &str); 15] = [
    ("skies", "sky"),
    ("sky", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
];

/// What must hold of a stem for its suffix to go.
type Condition = fn(&[u8]) -> bool;
type Rule = (&'static str, &'static str, Condition);

const STEP_2: [Rule; 22] = [
    ("ational", "ate", measured),
    ("tional", "tion", measured),
    ("enci", "ence", measured),
    ("anci", "ance", measured),
    ("izer", "ize", measured),
    ("bli", "ble", measured),
    ("alli", "al", measured),
    ("entli", "ent", measured),
    ("eli", "e", measured),
    ("ousli", "ous", measured),
    ("ization", "ize", measured),
    ("ation", "ate", measured),
    ("ator", "ate", measured),
    ("alism", "al", measured),
    ("iveness", "ive", measured),
    ("fulness", "ful", measured),
    ("ousness", "ous", measured),
    ("aliti", "al", measured),
    ("iviti", "ive", measured),
    ("biliti", "ble", measured),
    ("fulli", "ful", measured),
    // The l counts to the stem, so that `geo` and `theo` go as `archaeo` does.
    ("logi", "log", |stem| measure(&[stem, b"l"].concat()) > 0),
];

const STEP_3: [Rule; 7] = [
    ("icate", "ic", measured),
    ("ative", "", measured),
    ("alize", "al", measured),
    ("iciti", "ic", measured),
    ("ical", "ic", measured),
    ("ful", "", measured),
    ("ness", "", measured),
];

const STEP_4: [Rule; 19] = [
    ("al", "", long),
    ("ance", "", long),
    ("ence", "", long),
    ("er", "", long),
    ("ic", "", long),
    ("able", "", long),
    ("ible", "", long),
    ("ant", "", long),
    ("ement", "", long),
    ("ment", "", long),
    ("ent", "", long),
    ("ion", "", |stem| long(stem) && matches!(stem.last(), Some(b's' | b't'))),
    ("ou", "", long),
    ("ism", "", long),
    ("ate", "", long),
    ("iti", "", long),
    ("ous", "", long),
    ("ive", "", long),
    ("ize", "", long),
];

/// The stem of a word of small ASCII letters and digits.
pub fn stem(word: &str) -> String {
    if let Some((_, form)) = IRREGULAR.iter().chain(&[("succeed", "succeed")]).find(|(known, _)| *known == word) {
        return (*form).to_owned();
    }
    if word.len() <= 2 {
        return word.to_owned();
    }
    let word = step_1b(step_1a(word.to_owned()));
    let word = ruled(word, &[("y", "i", |stem| stem.len() > 1 && consonants(stem).last() == Some(&true))]);
    let word = ruled(ruled(step_2(word), &STEP_3), &STEP_4);
    step_5(word)
}

/// For each letter, whether it is a consonant: `y` is one behind a vowel and at the beginning.
fn consonants(word: &[u8]) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word {
        flags.push(match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => flags.last().is_none_or(|before| !before),
            _ => true,
        });
    }
    flags
}

/// m, the number of times that a consonant follows a vowel.
fn measure(stem: &[u8]) -> usize {
    consonants(stem).windows(2).filter(|pair| pair == &[false, true]).count()
}

fn measured(stem: &[u8]) -> bool {
    measure(stem) > 0
}

fn long(stem: &[u8]) -> bool {
    measure(stem) > 1
}

/// *o: ends consonant, vowel, consonant that is not w, x or y; or is vowel, consonant.
fn closed(word: &[u8]) -> bool {
    match (consonants(word).as_slice(), word.last()) {
        ([false, true], _) => true,
        ([.., true, false, true], Some(last)) => !matches!(last, b'w' | b'x' | b'y'),
        _ => false,
    }
}

/// The first rule whose suffix the word has: where its condition fails, no other is tried.
fn ruled(word: String, rules: &[Rule]) -> String {
    for (suffix, put, condition) in rules {
        if let Some(stem) = word.strip_suffix(suffix) {
            return if condition(stem.as_bytes()) { format!("{stem}{put}") } else { word };
        }
    }
    word
}

fn step_1a(word: String) -> String {
    if word.len() == 4 && word.ends_with("ies") {
        return word.replacen("ies", "ie", 1);
    }
    ruled(word, &[("sses", "ss", |_| true), ("ies", "i", |_| true), ("ss", "ss", |_| true), ("s", "", |_| true)])
}

fn step_1b(word: String) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if word.ends_with("eed") {
        return ruled(word, &[("eed", "ee", measured)]);
    }
    let vowelled = |stem: &&str| consonants(stem.as_bytes()).contains(&false);
    let cut = ["ed", "ing"].iter().find_map(|suffix| word.strip_suffix(suffix).filter(vowelled));
    let Some(stem) = cut else { return word };
    for (suffix, put) in [("at", "ate"), ("bl", "ble"), ("iz", "ize")] {
        if let Some(rest) = stem.strip_suffix(suffix) {
            return format!("{rest}{put}");
        }
    }
    let bytes = stem.as_bytes();
    match bytes {
        [.., a, b] if a == b && consonants(bytes).last() == Some(&true) => match b {
            b'l' | b's' | b'z' => stem.to_owned(),
            _ => stem.get(..stem.len() - 1).unwrap_or(stem).to_owned(),
        },
        _ if measure(bytes) == 1 && closed(bytes) => format!("{stem}e"),
        _ => stem.to_owned(),
    }
}

fn step_2(word: String) -> String {
    match word.strip_suffix("alli").filter(|stem| measured(stem.as_bytes())) {
        Some(stem) => step_2(format!("{stem}al")),
        None => ruled(word, &STEP_2),
    }
}

fn step_5(word: String) -> String {
    let word = match word.strip_suffix('e').map(str::as_bytes) {
        Some(stem) if long(stem) || (measure(stem) == 1 && !closed(stem)) => {
            word.strip_suffix('e').unwrap_or(&word).to_owned()
        }
        _ => word,
    };
    match word.strip_suffix('l') {
        Some(stem) if stem.ends_with('l') && long(stem.as_bytes()) => stem.to_owned(),
        _ => word,
    }
}
