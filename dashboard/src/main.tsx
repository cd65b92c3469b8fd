import { render } from 'preact';
import { App } from './app';
import { startLive } from './live';
import { startRouting } from './route';
import './style/base.css';
import './style/frame.css';
import './style/parts.css';
import './style/table.css';
import './style/plot.css';
import './style/narrow.css';
import { startTheme } from './theme';

startTheme();
startRouting();
startLive();
render(<App />, document.getElementById('app') as HTMLElement);
