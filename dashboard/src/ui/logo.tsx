/** Three strata, the youngest on top. The same drawing as `public/logo.svg`. */
export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
      <path class="s1" d="M16 3.5 29 10 16 16.5 3 10z" />
      <path class="s2" d="M3 15.2 16 21.7 29 15.2v2.6l-13 6.5-13-6.5z" />
      <path class="s3" d="M3 20.9 16 27.4 29 20.9v2.6L16 30 3 23.5z" />
    </svg>
  );
}
