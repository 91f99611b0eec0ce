// The logo: our mark and our name.
import mark from './mark.svg';

export const Logo = () => (
  <span className="switchboard-logo">
    <img src={new URL(mark, import.meta.url).href} alt="" />
    Switchboard
  </span>
);
