//! Reads the little of a struct definition that the derives need.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// A struct with named fields and at most one lifetime.
pub struct Struct {
    pub name: String,
    /// With its tick, for example `'a`.
    pub lifetime: Option<String>,
    pub fields: Vec<String>,
}

impl Struct {
    /// `<'a>` or nothing.
    pub fn generics(&self) -> String {
        self.lifetime.as_ref().map_or_else(String::new, |l| format!("<{l}>"))
    }

    /// Code for each field, in order.
    pub fn each(&self, code: impl Fn(&str) -> String) -> String {
        self.fields.iter().map(|f| code(f)).collect()
    }
}

/// Why an item cannot be derived for, and where to show it.
pub struct Refusal {
    span: Span,
    message: String,
}

impl Refusal {
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// `::core::compile_error! { "…" }` at the place of the refusal.
    pub fn into_tokens(self) -> TokenStream {
        let colon = |spacing| TokenTree::from(Punct::new(':', spacing));
        let text = TokenTree::from(Literal::string(&self.message));
        let tokens = [
            colon(Spacing::Joint),
            colon(Spacing::Alone),
            Ident::new("core", self.span).into(),
            colon(Spacing::Joint),
            colon(Spacing::Alone),
            Ident::new("compile_error", self.span).into(),
            Punct::new('!', Spacing::Alone).into(),
            Group::new(Delimiter::Brace, text.into()).into(),
        ];
        tokens
            .into_iter()
            .map(|mut token| {
                token.set_span(self.span);
                token
            })
            .collect()
    }
}

type Tokens = std::iter::Peekable<proc_macro::token_stream::IntoIter>;

/// Parses the item a derive stands on.
pub fn parse(derive: &str, input: TokenStream) -> Result<Struct, Refusal> {
    let expected = |span, what: &str| {
        Err(Refusal::new(
            span,
            format!("derive({derive}) takes a struct with named fields and at most one lifetime parameter; {what}"),
        ))
    };
    let mut tokens = input.into_iter().peekable();
    skip_attributes_and_visibility(&mut tokens);
    match tokens.next() {
        Some(TokenTree::Ident(word)) if word.to_string() == "struct" => {}
        Some(other) => return expected(other.span(), &format!("this is `{other}`")),
        None => return expected(Span::call_site(), "there is no item"),
    }
    let Some(TokenTree::Ident(name)) = tokens.next() else {
        return expected(Span::call_site(), "the struct has no name");
    };
    let lifetime = match lifetime(&mut tokens) {
        Ok(lifetime) => lifetime,
        Err(span) => return expected(span, "this is another kind of parameter"),
    };
    match tokens.next() {
        Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {
            let fields = fields(body.stream());
            Ok(Struct { name: name.to_string(), lifetime, fields })
        }
        Some(TokenTree::Ident(word)) if word.to_string() == "where" => {
            expected(word.span(), "this one has a where clause")
        }
        Some(other) => expected(other.span(), "this one has no named fields"),
        None => expected(name.span(), "this one has no fields"),
    }
}

/// Reads `<'a>` or `<'a,>`, if there is one; an error is where something else stands.
fn lifetime(tokens: &mut Tokens) -> Result<Option<String>, Span> {
    if !is_punct(tokens.peek(), '<') {
        return Ok(None);
    }
    let open = tokens.next().map_or_else(Span::call_site, |t| t.span());
    let mut take = |wanted: fn(&TokenTree) -> bool| match tokens.next() {
        Some(token) if wanted(&token) => Ok(token),
        Some(token) => Err(token.span()),
        None => Err(open),
    };
    take(|t| is_punct(Some(t), '\''))?;
    let name = take(|t| matches!(t, TokenTree::Ident(_)))?;
    let end = take(|t| is_punct(Some(t), '>') || is_punct(Some(t), ','))?;
    if is_punct(Some(&end), ',') {
        take(|t| is_punct(Some(t), '>'))?;
    }
    Ok(Some(format!("'{name}")))
}

/// Names of the fields in a struct's braces.
fn fields(body: TokenStream) -> Vec<String> {
    let mut tokens = body.into_iter().peekable();
    let mut names = Vec::new();
    loop {
        skip_attributes_and_visibility(&mut tokens);
        let Some(TokenTree::Ident(name)) = tokens.next() else { return names };
        names.push(name.to_string());
        skip_type(&mut tokens);
    }
}

/// Skips `: Type,`; a comma inside angle brackets belongs to the type.
fn skip_type(tokens: &mut Tokens) {
    let mut depth = 0_i32;
    let mut after_dash = false;
    for token in tokens {
        let TokenTree::Punct(punct) = &token else {
            after_dash = false;
            continue;
        };
        match punct.as_char() {
            '<' => depth += 1,
            // The `>` of `->` closes nothing.
            '>' if !after_dash => depth -= 1,
            ',' if depth == 0 => return,
            _ => {}
        }
        after_dash = punct.as_char() == '-';
    }
}

/// Skips `#[…]` and `pub`, `pub(…)`.
fn skip_attributes_and_visibility(tokens: &mut Tokens) {
    loop {
        match tokens.peek() {
            Some(TokenTree::Punct(punct)) if punct.as_char() == '#' => {
                tokens.next();
                tokens.next();
            }
            Some(TokenTree::Ident(word)) if word.to_string() == "pub" => {
                tokens.next();
                let scope = |t: &TokenTree| matches!(t, TokenTree::Group(g) if g.delimiter() == Delimiter::Parenthesis);
                tokens.next_if(scope);
            }
            _ => return,
        }
    }
}

fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == c)
}
